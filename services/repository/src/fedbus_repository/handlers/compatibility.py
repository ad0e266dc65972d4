"""Compatibility of a job with its model, checked before the job is stored. Pure."""

from dataclasses import replace

from fedbus.frameworks.outputs import loss_contradiction, matching_loss
from fedbus.jobs import JobFile, JobFileError, framework_faults, parse, training_params_of
from fedbus.model.layout import Layout
from fedbus.model.sections import trained_tensors, untrained_tensors
from fedbus.strategies.part_factories import is_shipped
from fedbus.text import listed
from fedbus.training.options import FRAMEWORKS
from fedbus.training.params import PluginChoice
from fedbus.wire.documents import ModelNeeds
from fedbus.wire.identifiers import BASE
from fedbus.wire.messages import JobFault
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.strategies import Strategy
from fedbus_repository.handlers.pushed_contents import TFLITE
from fedbus_repository.stores.privacy_rules import PRIVACY_KEY


def compatibility_warnings(file: bytes, needs: ModelNeeds | None) -> tuple[str, ...]:
    """Return warnings about a job that is accepted although it contradicts its model."""
    try:
        job = parse(file)
    except JobFileError:
        return ()
    warning = loss_contradiction(needs.answers, job.eval_func) if needs is not None else ""
    return (warning,) if warning else ()


def incompatibilities(file: bytes, needs: ModelNeeds | None) -> tuple[JobFault, ...]:
    """Return the job keys that no framework of a model accepts, with what they accept.

    A file that cannot be parsed is left to the controller, and a trainer that fedbus does not ship
    accepts anything.
    """
    try:
        job = parse(file)
    except JobFileError:
        return ()
    if needs is None:
        return ()
    if not needs.trains:
        return (_runs_only_fault(job, needs),)
    return (
        *_batch_size_faults(training_params_of(job).batch_size, needs.least_batch),
        *_loss_faults(job, needs),
        *_framework_faults(job, needs),
    )


def _runs_only_fault(job: JobFile, needs: ModelNeeds) -> JobFault:
    problem = (
        f"model {job.model_name} only runs: its {listed(needs.architectures)} file holds the "
        "weights, or it has several inputs, and agents cannot train it"
    )
    hint = (
        "push a trainable one under another name: `fedbus models push package.module:factory`, or "
        "a .tflite file with the signatures train, infer, get_weights and set_weights"
    )
    return JobFault(key="model_name", problem=problem, hint=hint)


def trains_by_tflite_alone(file: bytes, needs: ModelNeeds | None) -> bool:
    """Return whether agents can train a job's model by its `.tflite` file only."""
    try:
        job = parse(file)
    except JobFileError:
        return False
    if needs is None or TFLITE not in needs.architectures:
        return False
    if job.trainer == BASE:
        return {*needs.architectures} & {*FRAMEWORKS} == {TFLITE}
    return job.trainer == TFLITE or (job.trainer is None and needs.architectures == (TFLITE,))


def terms_fault(objective: PluginChoice, model: str) -> JobFault | None:
    """Return the fault of an objective, on a `.tflite` file without terms; None if it needs none.

    A third-party objective may need none: agents find that out.
    """
    needed = is_shipped("objectives", objective.id)
    if not needed or objective.parameters.get("proximal_mu") == 0:
        return None
    problem = (
        f"objective {objective.id!r} adds terms to the loss, and the .tflite file of model "
        f"{model}, by which alone agents can train it, was not exported for a strategy's terms"
    )
    hint = "push the model again: `fedbus models push package.module:factory --local-terms`"
    return JobFault(key="strategy", problem=problem, hint=hint)


def unprotected_fault(layout: Layout, strategy: Strategy, model: str) -> JobFault | None:
    """Return the fault of a model whose agents would send tensors that no noise protects.

    A mechanism clips and noises differences of trained floating-point tensors only. Features are
    sent instead of tensors.
    """
    if strategy.privacy is None or strategy.privacy.release == "features":
        return None
    bare = [tensor.name for tensor in untrained_tensors(layout)]
    if not bare:
        return _too_many_bits(layout, strategy.privacy, model)
    problem = (
        f"agents would send {listed(bare)} of model {model} without noise: "
        f"{strategy.privacy.mechanism} protects trained floating-point tensors only"
    )
    hint = (
        "train a model with GroupNorm or LayerNorm instead of BatchNorm, or give these tensors the"
        " role local and push the model again"
    )
    return JobFault(key=PRIVACY_KEY, problem=problem, hint=hint)


def _too_many_bits(layout: Layout, terms: PrivacyTerms, model: str) -> JobFault | None:
    """Return the fault of a model with more numbers than ε is computed for; each is one bit."""
    numbers = sum(tensor.numbers for tensor in trained_tensors(layout))
    if terms.release != "randomized-response" or numbers <= terms.steps:
        return None
    return JobFault(
        key=f"{PRIVACY_KEY}.{terms.mechanism}.trained_numbers",
        problem=f"{terms.steps}, but model {model} has {numbers} trained numbers",
        hint=f"give {numbers}",
    )


def _loss_faults(job: JobFile, needs: ModelNeeds) -> tuple[JobFault, ...]:
    """Return a fault if a job names no loss and the default contradicts the model's outputs.

    A loss that the job names gets only a warning: its author may be right.
    """
    shipped = job.trainer in {None, BASE, *FRAMEWORKS} and set(needs.architectures) & set(
        FRAMEWORKS
    )
    if "eval_func" in job.model_fields_set or not shipped:
        return ()
    if not loss_contradiction(needs.answers, job.eval_func):
        return ()
    problem = (
        f"missing: model {job.model_name} answers {needs.answers}, which the default, "
        f"{job.eval_func}, cannot train"
    )
    return (
        JobFault(key="eval_func", problem=problem, hint=f"name {matching_loss(needs.answers)}"),
    )


def _framework_faults(job: JobFile, needs: ModelNeeds) -> tuple[JobFault, ...]:
    trainer, architectures = job.trainer, needs.architectures
    if trainer == BASE:
        architectures = tuple(name for name in architectures if name in FRAMEWORKS)
        if not architectures:
            problem = (
                f"{BASE} is a trainer that fedbus ships; model {job.model_name} is for "
                f"{listed(needs.architectures) or 'none'}"
            )
            return (JobFault(key="client_type_id", problem=problem),)
    elif trainer is not None:  # its options were checked when the file was parsed
        if trainer in architectures:
            return ()
        known = listed(architectures) or "none"
        problem = f"model {job.model_name} has no architecture for {trainer!r}; it has {known}"
        return (JobFault(key="plugins.trainer", problem=problem),)
    prefix = f"model {job.model_name} is for {listed(needs.architectures)}: "
    return tuple(
        replace(fault, problem=prefix + fault.problem)
        for fault in framework_faults(architectures, job)
    )


def _batch_size_faults(batch: int, least: int) -> tuple[JobFault, ...]:
    if batch >= least:
        return ()
    problem = f"expected batches of {least} rows or more, got {batch}: the model normalizes batches"
    return (JobFault(key="config[0].batch_size", problem=problem, hint=f"{least} or more"),)
