"""Checks of a new job against its model's ε and tensors. Called in threads."""

from fedbus.errors import FedbusError
from fedbus.jobs import JobFileError, parse
from fedbus.wire.blobs import BlobRef
from fedbus.wire.messages import JobFault, StoreJob
from fedbus.wire.strategies import Strategy
from fedbus_repository.handlers.compatibility import unprotected_fault
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.model_epsilon import lost_epsilon
from fedbus_repository.stores.privacy_rules import PRIVACY_KEY
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
    shown = store.show(message.model, None, 1) if private is not None else None
    if private is None or not isinstance(shown, ModelView):
        return ()  # the store refuses a job of an unknown model
    found = _tensor_fault(specs, shown.version.spec, private, message.model)
    refusal = store.check_private_job(message.model, private)
    spent = None if refusal is None else JobFault(key=refusal.key, problem=refusal.reason)
    return tuple(each for each in (found, spent) if each is not None)


def private_job_warnings(store: Store, message: StoreJob) -> tuple[str, ...]:
    """Return the warning about a job without a mechanism on a model that has an ε."""
    if private_strategy(message) is not None:
        return ()
    found = store.model_privacy(message.model)
    if isinstance(found, StoreRefusal):
        return ()
    warning = lost_epsilon(message.model, found.jobs)
    return () if warning is None else (warning,)


def _resolution_fault(message: StoreJob) -> JobFault | None:
    """Return a fault if the file has another mechanism than its resolved strategy, or one has none.

    A file that cannot be parsed is left to the controller.
    """
    try:
        chosen = parse(message.file).privacy_mechanisms.chosen
    except JobFileError:
        return None
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


def _tensor_fault(
    specs: SpecReader, spec: BlobRef, private: Strategy, model: str
) -> JobFault | None:
    try:
        return unprotected_fault(specs.layout(spec), private, model)
    except FedbusError as error:
        problem = f"the spec of model {model} cannot be read: {error}"
        return JobFault(key="model_name", problem=problem)
