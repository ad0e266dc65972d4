"""Checks of a new job against its model's ε and tensors. Called in threads."""

from fedbus.errors import FedbusError
from fedbus.jobs import JobFile, JobFileError, parse
from fedbus.model.layout import Layout
from fedbus.model.sections import trained_tensors
from fedbus.privacy.banded import banded_cost_fault
from fedbus.privacy.terms_faults import terms_faults
from fedbus.strategies.privacy_rules import budget_hint
from fedbus.strategies.privacy_warnings import privacy_warnings
from fedbus.strategies.protection_warnings import protection_warnings
from fedbus.wire.blobs import BlobRef
from fedbus.wire.messages import JobFault, StoreJob
from fedbus.wire.strategies import Strategy
from fedbus_repository.handlers.compatibility import unprotected_fault
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.model_epsilon import lost_epsilon
from fedbus_repository.stores.privacy_rules import PRIVACY_KEY, TARGET_KEY
from fedbus_repository.stores.records import ModelView, StoreRefusal


def private_strategy(message: StoreJob) -> Strategy | None:
    """Return a job's strategy if it has a privacy mechanism."""
    strategy = message.strategy
    return strategy if strategy is not None and strategy.privacy is not None else None


def private_job_faults(store: Store, specs: SpecReader, message: StoreJob) -> tuple[JobFault, ...]:
    """Return why a mechanism cannot protect the training of this model."""
    if fault := _resolution_fault(message):
        return (fault,)
    private = private_strategy(message)
    terms = None if private is None else private.privacy
    if terms is not None and (faults := tuple(terms_faults(terms))):
        return faults
    shown = store.show(message.model, None, 1) if private is not None else None
    if private is None or not isinstance(shown, ModelView):
        return ()  # the store refuses a job of an unknown model
    found = _tensor_fault(specs, shown.version.spec, private, message)
    spent = _spent_fault(store, message.model, private)
    return tuple(each for each in (found, spent) if each is not None)


def private_job_warnings(store: Store, message: StoreJob) -> tuple[str, ...]:
    """Return warnings about what a job promises, hides, or takes from a model that has an ε.

    A file that cannot be parsed is left to the controller.
    """
    job, strategy = _parsed(message), message.strategy
    hidden: tuple[str, ...] = ()
    if job is not None and strategy is not None:
        hidden = tuple(protection_warnings(job, strategy))
    if strategy is not None and strategy.privacy is not None:
        return () if job is None else (*privacy_warnings(job, strategy.privacy), *hidden)
    found = store.model_privacy(message.model)
    if isinstance(found, StoreRefusal):
        return hidden
    warning = lost_epsilon(message.model, found.jobs)
    return hidden if warning is None else (warning, *hidden)


def _resolution_fault(message: StoreJob) -> JobFault | None:
    """Return a fault if the file has another mechanism than its resolved strategy, or one has none.

    A file that cannot be parsed is left to the controller.
    """
    if (job := _parsed(message)) is None:
        return None
    chosen = job.privacy_mechanisms.chosen
    private = private_strategy(message)
    asked = None if chosen is None else chosen[0]
    resolved = private.privacy.mechanism if private and private.privacy else None
    if asked == resolved:
        return None
    problem = (
        f"the file has the mechanism {asked or 'none'}, and the controller resolved it into "
        f"{resolved or 'none'}"
    )
    hint = "run the same version of fedbus at controllers and repository"
    return JobFault(key=PRIVACY_KEY, problem=problem, hint=hint)


def _parsed(message: StoreJob) -> JobFile | None:
    try:
        return parse(message.file)
    except JobFileError:
        return None


def _spent_fault(store: Store, model: str, private: Strategy) -> JobFault | None:
    if (refusal := store.check_private_job(model, private)) is None:
        return None
    terms = private.privacy if refusal.key == TARGET_KEY else None
    hint = "" if terms is None else budget_hint(terms, private.aggregator.id)
    return JobFault(key=refusal.key, problem=refusal.reason, hint=hint)


def _tensor_fault(
    specs: SpecReader, spec: BlobRef, private: Strategy, message: StoreJob
) -> JobFault | None:
    try:
        layout = specs.layout(spec)
    except FedbusError as error:
        problem = f"the spec of model {message.model} cannot be read: {error}"
        return JobFault(key="model_name", problem=problem)
    return unprotected_fault(layout, private, message.model) or _banded_fault(
        layout, private, message
    )


def _banded_fault(layout: Layout, private: Strategy, message: StoreJob) -> JobFault | None:
    """Return the fault of a job whose last round would draw too much banded noise again."""
    job, numbers = _parsed(message), sum(each.numbers for each in trained_tensors(layout))
    if private.privacy is None or not private.privacy.correlated or job is None:
        return None
    problem = banded_cost_fault(job.num_rounds, numbers)
    return JobFault(key="num_rounds", problem=problem) if problem else None
