"""Requests of controllers about jobs, and their answers. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from fedbus.core.actions import Action, Send
from fedbus.wire.documents import ModelNeeds
from fedbus.wire.messages import (
    Acceptance,
    EndJob,
    EvaluationStored,
    ForgetJob,
    JobEnded,
    JobFault,
    JobFileRefused,
    JobForgotten,
    JobLoaded,
    JobsListed,
    ListJobs,
    LoadJob,
    PlanStored,
    StaleEpoch,
    StoreEvaluation,
    StoreJob,
    StorePlan,
)
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import Strategy
from fedbus_repository.handlers.catalog import ModelCatalog
from fedbus_repository.handlers.compatibility import (
    compatibility_warnings,
    incompatibilities,
    terms_fault,
    trains_by_tflite_alone,
)
from fedbus_repository.handlers.ledgers import plan_refused, with_ledger
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.handlers.private_jobs import (
    private_job_faults,
    private_job_warnings,
)
from fedbus_repository.handlers.protected_jobs import protected_job_faults, store_plan
from fedbus_repository.keys import RequestRun
from fedbus_repository.requests import Call, RequestRunner, RequestSteps, Steps
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.commit_rules import CONTINUE_STATE, continuation_fault
from fedbus_repository.stores.ledger_records import PlanRefusal
from fedbus_repository.stores.records import (
    JobEnd,
    ModelView,
    Origin,
    StaleLease,
    StoredJob,
    StoreRefusal,
    Version,
)

JobRequest: TypeAlias = (
    StoreJob | StorePlan | ListJobs | LoadJob | StoreEvaluation | EndJob | ForgetJob
)

T = TypeVar("T")

REPEAT_SECONDS, REPEAT_LEASES = 120.0, 8
"""Within this time, or this number of leases, equal job files of one sender are one submission: by
then a standby has taken over the leader's open requests, or dropped its copies of decided ones."""


class JobHandler:
    """Handles the requests of controllers."""

    def __init__(
        self,
        store: Store,
        requests: RequestRunner,
        catalog: ModelCatalog,
        specs: SpecReader,
        lease_seconds: float,
    ) -> None:
        self._store, self._requests, self._catalog = store, requests, catalog
        self._specs = specs
        self._repeat_seconds = max(REPEAT_SECONDS, REPEAT_LEASES * lease_seconds)

    def handle(self, sender: str, message: JobRequest) -> Iterator[Action]:
        """Start a request and answer it from the store."""
        subject, call = self._store_call(message)
        key = RequestRun.of(message, sender, *subject)
        yield from self._requests.start(key, message, self._answer(sender, message, call))

    def _store_call(self, message: JobRequest) -> tuple[tuple[str | int, ...], Callable[[], Any]]:
        store, epoch = self._store, message.epoch
        match message:
            case StorePlan(plan=plan):
                return (plan.job, plan.task), partial(store_plan, store, self._specs, message)
            case StoreEvaluation(job=job, round=number, metrics=metrics, energy=energy):
                return (job, number), partial(
                    store.store_evaluation, epoch, job, number, metrics, energy
                )
            case ListJobs():
                return (), partial(store.list_jobs, epoch)
            case StoreJob(job=job, model=model, file=file):
                origin, continued = self._origin(message), _continued(message)
                strategy = message.strategy
                store_job = partial(store.store_job, continued=continued, strategy=strategy)
                return (job,), partial(store_job, epoch, job, model, file, origin)
            case EndJob(job=job, phase=phase, reason=reason):
                return (job,), partial(store.end_job, epoch, job, phase, reason)
        call = store.load_job if isinstance(message, LoadJob) else store.forget_job
        return (message.job,), partial(call, epoch, message.job)

    def _answer(self, sender: str, message: JobRequest, call: Callable[[], Any]) -> RequestSteps:
        if isinstance(message, StoreJob):
            return (yield from self._store_job(sender, message, call))
        result = yield Call(call)
        answer = self._message_for(message, result)
        if isinstance(answer, JobLoaded):
            answer = yield from self._completed(answer)
        sent = () if answer is None else (Send(sender, answer),)
        if isinstance(result, Version):
            return (*sent, *self._catalog.evaluated(result))
        return sent

    def _store_job(self, sender: str, message: StoreJob, call: Callable[[], Any]) -> RequestSteps:
        load, origin = self._store.load_job, self._origin(message)
        known = yield Call(partial(load, message.epoch, message.job, origin))
        if isinstance(known, StoreRefusal):  # a stored job was checked before
            faults = yield Call(partial(self._check, incompatibilities, message))
            faults = (*faults, *(yield Call(partial(self._state_faults, message))))
            faults = (*faults, *(yield Call(partial(self._terms_faults, message))))
            check = partial(private_job_faults, self._store, self._specs, message)
            faults = (*faults, *(yield Call(check)))
            check = partial(protected_job_faults, self._store, self._specs, message)
            faults = (*faults, *(yield Call(check)))
            if faults:
                return (Send(sender, JobFileRefused(job=message.job, faults=faults)),)
        result = yield Call(call)
        if not isinstance(result, StoredJob):
            return (Send(sender, self._message_for(message, result)),)
        acceptance = Acceptance(
            known=isinstance(known, StoredJob) and known.job == result.job,
            proposed=message.job if message.job != result.job else None,
        )
        if not acceptance.known:
            warnings = yield Call(partial(self._check, compatibility_warnings, message))
            lost = yield Call(partial(private_job_warnings, self._store, message))
            acceptance = replace(acceptance, warnings=(*warnings, *lost))
        loaded = yield from self._completed(self._loaded(result))
        return (Send(sender, replace(loaded, acceptance=acceptance)),)

    def _completed(self, loaded: JobLoaded) -> Steps[JobLoaded]:
        """Add what the model's spec requires, what the ledger says, and what energy was used."""
        spec = loaded.latest.spec
        needs = yield Call(partial(self._specs.needs, spec))
        shared = yield Call(partial(self._specs.shared_tensors, spec))
        ledger = yield Call(partial(self._store.job_ledger, loaded.job))
        energy = yield Call(partial(self._store.energy, loaded.job))
        found = replace(loaded, needs=needs, shared_tensors=shared, energy=energy)
        return with_ledger(found, ledger)

    def _origin(self, message: StoreJob) -> Origin | None:
        if message.origin is None:
            return None
        seconds, redelivered = self._repeat_seconds, message.redelivered
        return Origin(digest=message.origin, redelivered=redelivered, seconds=seconds)

    def _check(self, check: Callable[[bytes, ModelNeeds | None], T], message: StoreJob) -> T:
        """Check a new job's file against its model; of an unknown model nothing is required."""
        shown = self._store.show(message.model, None, 1)
        needs = self._specs.needs(shown.version.spec) if isinstance(shown, ModelView) else None
        return check(message.file, needs)

    def _state_faults(self, message: StoreJob) -> tuple[JobFault, ...]:
        """Return a fault if a new job cannot continue the state of the latest version."""
        shown = self._store.show(message.model, None, 1) if message.continue_state else None
        if not isinstance(shown, ModelView):
            return ()
        if fault := continuation_fault(message.strategy, shown.version):
            return (JobFault(key=CONTINUE_STATE, problem=fault),)
        lost = [blob for blob in shown.version.state_blobs if not self._store.holds(blob)]
        return tuple(
            JobFault(
                key=CONTINUE_STATE,
                problem=f"what the strategy keeps with version {shown.version.version}, blob "
                f"{blob.digest} of {blob.size} bytes, is missing or damaged at the repository",
                hint="restore that blob from a backup, or leave the key out",
            )
            for blob in lost
        )

    def _terms_faults(self, message: StoreJob) -> tuple[JobFault, ...]:
        """Return a fault if the objective needs a `.tflite` file that was exported for terms."""
        objective = message.strategy.objective if message.strategy is not None else None
        if objective is None or not self._check(trains_by_tflite_alone, message):
            return ()
        fault = terms_fault(objective, message.model)
        shown = self._store.show(message.model, None, 1)
        if fault is None or not isinstance(shown, ModelView):
            return ()
        return (fault,) if self._specs.lacks_terms(shown.version.spec) else ()

    def _message_for(self, message: JobRequest, result: object) -> object | None:
        answer: object | None = None  # an outdated plan, or a round that is not committed
        match result:
            case StaleLease(epoch):
                answer = StaleEpoch(epoch=epoch)
            case StoreRefusal(reason) if isinstance(message, ForgetJob):
                answer = JobForgotten(job=message.job, reason=reason)
            case StoreRefusal(reason, key) if not isinstance(message, ListJobs):
                job = message.plan.job if isinstance(message, StorePlan) else message.job
                answer = JobFileRefused(job=job, faults=(JobFault(key=key, problem=reason),))
            case PlanRefusal() if isinstance(message, StorePlan):
                answer = plan_refused(message.plan.job, message.plan.task, result)
            case JobEnd(job=job, phase=phase, reason=reason, at=at):
                answer = JobEnded(job=job, phase=phase, reason=reason, at=at)
            case Plan(job=job, task=task):
                answer = PlanStored(job=job, task=task)
            case Version(job=str(job), round=number):
                answer = EvaluationStored(job=job, round=number)
            case StoredJob() if isinstance(message, ForgetJob):
                answer = JobForgotten(job=result.job, rounds=result.rounds)
            case StoredJob():
                answer = self._loaded(result)
            case tuple():
                answer = JobsListed(jobs=result)
        return answer

    def _loaded(self, job: StoredJob) -> JobLoaded:
        return JobLoaded(
            job=job.job,
            file=job.file,
            secret=job.secret,
            phase="running" if job.ended is None else job.ended.phase,
            reason="" if job.ended is None else job.ended.reason,
            rounds=job.rounds,
            latest=self._catalog.ref(job.latest),
            metrics=job.latest.metrics if job.rounds else {},  # before the first round: none
            plan=job.plan,
            submitted=job.submitted,
            ended=None if job.ended is None else job.ended.at,
            state=job.state,
            strategy=job.latest.strategy if job.rounds else job.protecting,
            forgotten=job.forgotten,
        )


def _continued(message: StoreJob) -> Strategy | None:
    return message.strategy if message.continue_state else None
