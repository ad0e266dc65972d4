# ruff: noqa: D102 - the methods are documented in Store
"""Decisions about the lease and the jobs."""

from collections.abc import Callable
from dataclasses import dataclass

from fedbus.energy.energy_sums import total_energy
from fedbus.privacy.budget import budget_fault
from fedbus.privacy.ledger_entries import entry_of_plan, is_entered_with_plan, trains_on_features
from fedbus.wire.documents import EndPhase
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.identifiers import Metrics, Timestamp
from fedbus.wire.privacy import PrivacySpent
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores import commit_rules, privacy_rules, rules
from fedbus_repository.stores.blob_storage import BlobStorage
from fedbus_repository.stores.job_configurations import (
    enter_configuration,
    readable_configuration,
)
from fedbus_repository.stores.job_lookup import find_job, find_submitted, stale_lease
from fedbus_repository.stores.ledger_decisions import (
    Accountant,
    LedgerDecisions,
    private_job_refusal,
    unknown_model,
)
from fedbus_repository.stores.ledger_records import (
    AllowedEntry,
    EntryFacts,
    PlanAnswer,
    PlanRefusal,
)
from fedbus_repository.stores.new_versions import evaluated_version
from fedbus_repository.stores.protection_rules import encrypted_base_refusal
from fedbus_repository.stores.record_database import NewJob, RecordDatabase, Records
from fedbus_repository.stores.records import (
    JobAnswer,
    JobEnd,
    Lease,
    Origin,
    StaleLease,
    StoredJob,
    StoreRefusal,
    Version,
    blobs_of_state,
)


@dataclass(frozen=True, slots=True)
class AllowedPlan:
    """A plan that may be stored, if the ε of its entry allows it; None: it releases nothing."""

    entry: AllowedEntry | None = None


class JobDecisions(LedgerDecisions):
    """The part of a `Store` that concerns the lease and the jobs."""

    def __init__(
        self,
        database: RecordDatabase,
        blobs: BlobStorage,
        secret: Callable[[], bytes],
        now: Callable[[], Timestamp],
        accountant: Accountant,
    ) -> None:
        super().__init__(database, accountant)
        self._blobs, self._secret, self._now = blobs, secret, now

    def take_lease(self, holder: str, incarnation: int, *, expired: int | None = None) -> Lease:
        with self._database.writing("granting the lease") as records:
            held = records.lease()
            if held is not None and (held.holder, held.incarnation) == (holder, incarnation):
                return held
            if held is not None and held.holder != holder and held.epoch != expired:
                return held
            epoch = 1 if held is None else held.epoch + 1
            new = Lease(holder=holder, incarnation=incarnation, epoch=epoch)
            records.replace_lease(new)
            return new

    def store_job(  # noqa: PLR0913 - as in Store
        self,
        epoch: int,
        job: str,
        model: str,
        file: bytes,
        origin: Origin | None = None,
        *,
        continued: Strategy | None = None,
        strategy: Strategy | None = None,
    ) -> JobAnswer:
        configuration = readable_configuration(file)
        with self._database.writing(f"storing job {job}") as records:
            found = find_submitted(records, epoch, job, origin, self._now())
            if isinstance(found, StaleLease):
                return found
            if isinstance(found, StoredJob):
                if differs := rules.file_difference(found.file, file):
                    return StoreRefusal(rules.id_taken(found, differs), "training_id")
                if origin is not None and origin.redelivered:
                    records.set_origin(found.job, epoch, origin)
                return found
            base = records.latest(model)
            if base is None:
                return unknown_model(records, model)
            if (refusal := _new_job_refusal(records, base, continued, strategy)) is not None:
                return refusal
            new = NewJob(
                job=job,
                base=base,
                file=file,
                secret=self._secret(),
                at=self._now(),
                epoch=epoch,
                continues_state=continued is not None,
                strategy=strategy,
                origin=origin,
            )
            if configuration is not None:
                enter_configuration(records, base.model, configuration, new.at)
            records.insert_job(new)
            return find_job(records, epoch, job)

    def store_plan(self, epoch: int, plan: Plan) -> PlanAnswer:
        checked, spent = None, None
        while True:
            with self._database.writing(f"storing a plan of job {plan.job}") as records:
                answer = self._plan_answer(records, epoch, plan)
                if not isinstance(answer, AllowedPlan):
                    return answer
                allowed = answer.entry
                if allowed is None or allowed == checked:
                    records.set_plan(epoch, plan, _entered(plan, allowed, spent))
                    return plan
            if fault := budget_fault(allowed.terms, allowed.before, allowed.after):
                with self._database.reading(f"reading the ledger of job {plan.job}") as records:
                    summary = self._summary(records, plan.job, allowed.terms, refused=plan)
                return PlanRefusal(kind="budget", reason=fault, ledger=summary)
            checked, spent = allowed, self._spent_after(allowed)

    def _plan_answer(self, records: Records, epoch: int, plan: Plan) -> PlanAnswer | AllowedPlan:
        found = find_job(records, epoch, plan.job)
        if not isinstance(found, StoredJob):
            return found
        if found.ended is not None:
            return found.ended
        if found.plan is not None and plan.task <= found.plan.task:
            return plan if plan == found.plan else None
        base = records.version(found.model, plan.base.version)
        if fault := commit_rules.plan_fault(plan, found, base):
            return StoreRefusal(fault)
        for blob in blobs_of_state(plan.state):
            self._blobs.require(blob, _state_of(plan.base.version, found.model))
        return self._terms_answer(records, plan, found)

    def _terms_answer(
        self, records: Records, plan: Plan, job: StoredJob
    ) -> StoreRefusal | PlanRefusal | AllowedPlan:
        """Return the refusal of a plan that breaks its job's terms, or what it would release."""
        if job.terms is None:
            fault = privacy_rules.cohort_fault(plan, None)
            return StoreRefusal(fault) if fault else AllowedPlan()
        ledger = self._ledger(records, job.job)
        asked = records.asked_agents(job.job)
        broken = privacy_rules.private_plan_fault(plan, job, job.terms, ledger, asked)
        if broken is not None:
            summary = self._summary(records, plan.job, job.terms, refused=plan)
            return PlanRefusal(kind=broken.kind, reason=broken.reason, ledger=summary)
        if trains_on_features(plan, job.terms):
            fault = privacy_rules.features_fault(plan, ledger)
            return StoreRefusal(fault) if fault else AllowedPlan()
        after = privacy_rules.composition_after(plan, job.terms, ledger)
        return AllowedPlan(
            self._allowed_entry(records, job, job.terms, ledger.composition(), after)
        )

    def planned(self, job: str) -> Plan | None:
        with self._database.reading(f"reading the plan of job {job}") as records:
            found = records.job(job)
            return None if found is None else found.plan

    def store_evaluation(
        self,
        epoch: int,
        job: str,
        round: int,
        metrics: Metrics,
        energy: EnergyUsed | None = None,
    ) -> Version | StoreRefusal | StaleLease | None:
        with self._database.writing(f"storing an evaluation of job {job}") as records:
            found = find_job(records, epoch, job)
            if not isinstance(found, StoredJob):
                return found
            made = records.committed_round(job, round)
            if made is None or made.record is None:
                return None
            evaluated = evaluated_version(made.version, made.record, metrics, energy)
            records.set_evaluation(evaluated)
            return evaluated

    def energy(self, job: str) -> EnergyUsed | None:
        with self._database.reading(f"reading the energy of job {job}") as records:
            return total_energy(records.energy_of(job))

    def end_job(
        self, epoch: int, job: str, phase: EndPhase, reason: str
    ) -> JobEnd | StoreRefusal | StaleLease:
        with self._database.writing(f"ending job {job}") as records:
            found = find_job(records, epoch, job)
            if not isinstance(found, StoredJob):
                return found
            if found.ended is not None:
                return found.ended
            end = JobEnd(job=job, phase=phase, reason=reason, at=self._now())
            records.set_end(epoch, end)
            return end

    def forget_job(self, epoch: int, job: str) -> JobAnswer:
        with self._database.writing(f"forgetting job {job}") as records:
            found = find_job(records, epoch, job)
            if isinstance(found, StoredJob):
                if found.ended is None:
                    return StoreRefusal(rules.still_running(job))
                records.set_forgotten(job)
            return found

    def list_jobs(self, epoch: int) -> tuple[str, ...] | StaleLease:
        with self._database.reading("listing jobs") as records:
            return stale_lease(records, epoch) or records.list_jobs()

    def load_job(self, epoch: int, job: str, origin: Origin | None = None) -> JobAnswer:
        with self._database.reading(f"loading job {job}") as records:
            return find_submitted(records, epoch, job, origin, self._now())


def _new_job_refusal(
    records: Records, base: Version, continued: Strategy | None, strategy: Strategy | None
) -> StoreRefusal | None:
    if (other := records.running_job(base.model)) is not None:
        return StoreRefusal(rules.model_in_training(base.model, other), "model_name")
    if (encrypted := encrypted_base_refusal(strategy, base)) is not None:
        return encrypted
    if continued is not None and (fault := commit_rules.continuation_fault(continued, base)):
        return StoreRefusal(fault, commit_rules.CONTINUE_STATE)
    if strategy is None or strategy.privacy is None:
        return None
    return private_job_refusal(records, base.model, strategy)


def _entered(
    plan: Plan, allowed: AllowedEntry | None, spent: PrivacySpent | None
) -> EntryFacts | None:
    """Return the ledger entry that is stored with a plan; None: the plan has none."""
    if allowed is None or spent is None or not is_entered_with_plan(allowed.terms):
        return None
    return EntryFacts(entry=entry_of_plan(plan, allowed.terms), spent=spent)


def _state_of(version: int, model: str) -> str:
    """Return what messages call a blob of the state that is stored with a version."""
    return f"the strategy's state of version {version} of model {model!r}"
