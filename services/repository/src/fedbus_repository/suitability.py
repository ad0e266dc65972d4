"""Whether a model's frameworks can do what a job asks of them, before the job is kept. Pure."""

from fedbus.catalogue import FRAMEWORKS, objections
from fedbus.layout import listed
from fedbus.wire.jobfile import JobFileError, params, parse
from fedbus.wire.states import ModelNeeds
from fedbus.wire.values import BASE


def unsuited(file: bytes, needs: ModelNeeds | None) -> str:
    """Say what no framework of a model takes, and what they take; nothing is when empty.

    Only the controller judges job files: one that cannot be read here is no matter of ours, nor is
    a model for trainers that are not ours.
    """
    try:
        job = parse(file)
    except JobFileError:
        return ""
    if needs is None:
        return ""
    trainer, structures = job.trainer, needs.structures
    if trainer == BASE:
        structures = tuple(name for name in structures if name in FRAMEWORKS)
        if not structures:
            return (
                f"client_type_id: {BASE} is a trainer that fedbus ships; model {job.model_name} "
                f"is for {listed(needs.structures) or 'none'}"
            )
    elif trainer is not None:  # what it takes was asked when the file was read
        known = listed(structures) or "none"
        missing = f"plugins.trainer: model {job.model_name} has no structure for {trainer!r}"
        return "" if trainer in structures else f"{missing}; it has {known}"
    found = "; ".join(map(str, objections(structures, params(job))))
    if not found:
        return ""
    return (
        f"the model {job.model_name} is for {listed(needs.structures)}, not for this job: {found}"
    )
