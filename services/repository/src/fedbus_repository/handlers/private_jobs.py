"""Checks of a new job against its model's ε and tensors. Called in threads."""

from fedbus.errors import FedbusError
from fedbus.wire.messages import JobFault, StoreJob
from fedbus.wire.strategies import Strategy
from fedbus_repository.handlers.compatibility import unprotected_fault
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.model_epsilon import lost_epsilon
from fedbus_repository.stores.records import ModelView, StoreRefusal


def private_strategy(message: StoreJob) -> Strategy | None:
    """Return a job's strategy if it has a privacy mechanism."""
    strategy = message.strategy
    return strategy if strategy is not None and strategy.privacy is not None else None


def private_job_faults(store: Store, specs: SpecReader, message: StoreJob) -> tuple[JobFault, ...]:
    """Return why a mechanism cannot protect the training of this model."""
    private = private_strategy(message)
    if private is None:
        return ()
    shown = store.show(message.model, None, 1)
    if not isinstance(shown, ModelView):
        return ()  # the store refuses a job of an unknown model
    faults = []
    try:
        layout = specs.layout(shown.version.spec)
    except FedbusError as error:
        faults.append(JobFault(key="model_name", problem=f"the model's spec: {error}"))
    else:
        if fault := unprotected_fault(layout, private, message.model):
            faults.append(fault)
    refusal = store.check_private_job(message.model, private)
    if refusal is not None:
        faults.append(JobFault(key=refusal.key, problem=refusal.reason))
    return tuple(faults)


def private_job_warnings(store: Store, message: StoreJob) -> tuple[str, ...]:
    """Return the warning about a job without a mechanism on a model that has an ε."""
    if private_strategy(message) is not None:
        return ()
    found = store.model_privacy(message.model)
    if isinstance(found, StoreRefusal):
        return ()
    warning = lost_epsilon(message.model, found.jobs)
    return () if warning is None else (warning,)
