"""Checks of new jobs and plans whose updates are encrypted or masked. Called in threads."""

from fedbus.encryption.encryption_terms import parameters_of
from fedbus.errors import FedbusError, LayoutError, SettingsError
from fedbus.jobs import JobFileError, parse
from fedbus.model.fixed_point import fixed_point_tensors
from fedbus.privacy.terms_faults import hidden_terms_faults
from fedbus.text import counted
from fedbus.wire.encryption import EncryptionTerms
from fedbus.wire.messages import JobFault, StoreJob, StorePlan
from fedbus.wire.strategies import Strategy
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.ledger_records import PlanAnswer
from fedbus_repository.stores.privacy_rules import PRIVACY_KEY
from fedbus_repository.stores.protection_rules import HOMOMORPHIC_KEY, short_key
from fedbus_repository.stores.records import ModelView, StoreRefusal

MASKING_KEY = f"{PRIVACY_KEY}.secure-aggregation"


def protected_job_faults(
    store: Store, specs: SpecReader, message: StoreJob
) -> tuple[JobFault, ...]:
    """Return why the updates of a job of this model cannot be encrypted or masked.

    Whether it continues the encryption of the latest version, the store decides.
    """
    strategy = message.strategy
    if fault := _resolution_fault(message):
        return (fault,)
    if strategy is None or strategy.fixed_point is None:
        return ()
    encrypted = strategy.encryption is not None
    if strategy.privacy is not None and (
        faults := tuple(hidden_terms_faults(strategy.privacy, encrypted=encrypted))
    ):
        return faults
    if strategy.encryption is not None and (
        fault := _terms_fault(strategy.encryption, specs.encryption_key)
    ):
        return (fault,)
    fault = _tensor_fault(store, specs, message.model, strategy)
    return () if fault is None else (fault,)


def store_plan(store: Store, specs: SpecReader, message: StorePlan) -> PlanAnswer:
    """Store a plan, if its ranges are those of its model's shared tensors."""
    plan = message.plan
    tensors = specs.shared_tensors(plan.base.spec) if plan.ranges else 0
    if len(plan.ranges) == tensors:
        return store.store_plan(message.epoch, plan)
    return StoreRefusal(
        f"the plan of task {plan.task} has {counted(len(plan.ranges), 'range')}, and model "
        f"{plan.base.model!r} shares {counted(tensors, 'tensor')}"
    )


def _tensor_fault(
    store: Store, specs: SpecReader, model: str, strategy: Strategy
) -> JobFault | None:
    """Return the fault of a model that shares tensors of whole numbers or flags."""
    shown = store.show(model, None, 1)
    if not isinstance(shown, ModelView):
        return None  # the store refuses a job of an unknown model
    try:
        fixed_point_tensors(specs.layout(shown.version.spec))
    except LayoutError as error:
        return JobFault(key=_key_of(strategy), problem=f"model {model}: {error}")
    except FedbusError as error:
        problem = f"the spec of model {model} cannot be read: {error}"
        return JobFault(key="model_name", problem=problem)
    return None


def _key_of(strategy: Strategy) -> str:
    return MASKING_KEY if strategy.encryption is None else HOMOMORPHIC_KEY


def _terms_fault(terms: EncryptionTerms, key: str | None) -> JobFault | None:
    if key is not None and terms.key != key:
        return JobFault(
            key=HOMOMORPHIC_KEY,
            problem=f"the controller's encryption key is {short_key(terms.key)}, and that of the "
            f"repository {short_key(key)}",
            hint="start both with the same public key (FEDBUS_ENCRYPTION_KEY)",
        )
    try:
        parameters_of(terms)
    except SettingsError as error:
        return JobFault(key=HOMOMORPHIC_KEY, problem=str(error))
    return None


def _resolution_fault(message: StoreJob) -> JobFault | None:
    """Return a fault if the file is protected and its resolved strategy is not, or otherwise.

    A file that cannot be parsed is left to the controller.
    """
    try:
        chosen = parse(message.file).privacy_mechanisms
    except JobFileError:
        return None
    strategy = message.strategy
    encrypts = strategy is not None and strategy.encryption is not None
    masks = strategy is not None and strategy.masking is not None
    asked = (chosen.homomorphic is not None, chosen.secure_aggregation is not None)
    if asked == (encrypts, masks):
        return None
    return JobFault(
        key=PRIVACY_KEY,
        problem="the file and the strategy that the controller resolved it into differ in how "
        "updates are encrypted or masked",
        hint="run the same version of fedbus at controllers and repository",
    )
