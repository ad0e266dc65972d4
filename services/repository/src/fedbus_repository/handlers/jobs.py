"""What a controller asks about jobs, and what it is answered. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from fedbus.core.actions import Action, Send
from fedbus.wire.messages import (
    Acceptance,
    EndJob,
    EvaluationStored,
    ForgetJob,
    JobEnded,
    JobFault,
    JobForgotten,
    JobLoaded,
    JobRefused,
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
from fedbus_repository.handlers.catalog import ModelCatalog
from fedbus_repository.handlers.compatibility import compatibility_warnings, incompatibilities
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.keys import RequestRun
from fedbus_repository.requests import Call, RequestRunner, RequestSteps, Steps
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.records import (
    JobEnd,
    Origin,
    StaleLease,
    StoredJob,
    StoreRefusal,
    Version,
)

Question: TypeAlias = (
    StoreJob | StorePlan | ListJobs | LoadJob | StoreEvaluation | EndJob | ForgetJob
)

REPEAT_SECONDS, LEASES = 120.0, 8
"""So long, or as long as so many leases, what comes twice from one sender is one submission: a
standby has by then taken over what the leader left, or dropped its copy of what that decided."""


class JobHandler:
    """The desk for controllers."""

    def __init__(
        self,
        store: Store,
        errands: RequestRunner,
        catalog: ModelCatalog,
        specs: SpecReader,
        lease_seconds: float,
    ) -> None:
        self._store, self._errands, self._catalog = store, errands, catalog
        self._specs = specs
        self._repeat_seconds = max(REPEAT_SECONDS, LEASES * lease_seconds)

    def ask(self, sender: str, message: Question) -> Iterator[Action]:
        """Take a question to the store."""
        subject, call = self._call(message)
        key = RequestRun.of(message, sender, *subject)
        yield from self._errands.start(key, message, self._answer(sender, message, call))

    def _call(self, message: Question) -> tuple[tuple[str | int, ...], Callable[[], Any]]:
        store, epoch = self._store, message.epoch
        match message:
            case StorePlan(plan=plan):
                return (plan.job, plan.task), partial(store.store_plan, epoch, plan)
            case StoreEvaluation(job=job, round=number, metrics=metrics):
                return (job, number), partial(store.store_evaluation, epoch, job, number, metrics)
            case ListJobs():
                return (), partial(store.list_jobs, epoch)
        return (message.job,), self._call_about(message)

    def _call_about(self, message: StoreJob | LoadJob | EndJob | ForgetJob) -> Callable[[], Any]:
        store, epoch = self._store, message.epoch
        match message:
            case StoreJob(job=job, model=model, file=file):
                origin = self._origin(message)
                return partial(store.store_job, epoch, job, model, file, origin)
            case LoadJob(job=job):
                return partial(store.load_job, epoch, job)
            case ForgetJob(job=job):
                return partial(store.forget_job, epoch, job)
        return partial(store.end_job, epoch, message.job, message.phase, message.reason)

    def _answer(self, sender: str, message: Question, call: Callable[[], Any]) -> RequestSteps:
        if isinstance(message, StoreJob):
            return (yield from self._store_job(sender, message, call))
        result = yield Call(call)
        answer = self._said(message, result)
        if isinstance(answer, JobLoaded):
            answer = yield from self._with_needs(answer)
        said = () if answer is None else (Send(sender, answer),)
        if isinstance(result, Version):
            return (*said, *self._catalog.scored(result))
        return said

    def _store_job(self, sender: str, message: StoreJob, call: Callable[[], Any]) -> RequestSteps:
        load, origin = self._store.load_job, self._origin(message)
        known = yield Call(partial(load, message.epoch, message.job, origin))
        if isinstance(known, StoreRefusal):  # a stored job was checked when it came
            faults = yield Call(partial(self._incompatibilities, message))
            if faults:
                return (Send(sender, JobRefused(job=message.job, faults=faults)),)
        result = yield Call(call)
        if not isinstance(result, StoredJob):
            return (Send(sender, self._said(message, result)),)
        acceptance = Acceptance(
            known=isinstance(known, StoredJob) and known.job == result.job,
            proposed=message.job if message.job != result.job else None,
        )
        if not acceptance.known:
            warnings = yield Call(partial(self._warnings, message))
            acceptance = replace(acceptance, warnings=warnings)
        loaded = yield from self._with_needs(self._loaded(result))
        return (Send(sender, replace(loaded, acceptance=acceptance)),)

    def _with_needs(self, loaded: JobLoaded) -> Steps[JobLoaded]:
        """Add what the model's spec requires of an agent."""
        needs = yield Call(partial(self._specs.needs, loaded.latest.spec))
        return replace(loaded, needs=needs)

    def _origin(self, message: StoreJob) -> Origin | None:
        if message.origin is None:
            return None
        return Origin(
            digest=message.origin,
            redelivered=message.redelivered,
            seconds=self._repeat_seconds,
        )

    def _warnings(self, message: StoreJob) -> tuple[str, ...]:
        """Return warnings for what contradicts the model in a new job."""
        shown = self._store.show(message.model, None, 1)
        if isinstance(shown, StoreRefusal):
            return ()
        return compatibility_warnings(message.file, self._specs.needs(shown.version.spec))

    def _incompatibilities(self, message: StoreJob) -> tuple[JobFault, ...]:
        """Return what of a new job its model cannot do."""
        shown = self._store.show(message.model, None, 1)
        if isinstance(shown, StoreRefusal):
            return ()  # the store refuses it, with its own reason
        return incompatibilities(message.file, self._specs.needs(shown.version.spec))

    def _said(self, message: Question, result: object) -> object | None:
        said: object | None = None  # an old plan, or a round that nobody has committed
        match result:
            case StaleLease(epoch):
                said = StaleEpoch(epoch=epoch)
            case StoreRefusal(reason) if isinstance(message, ForgetJob):
                said = JobForgotten(job=message.job, reason=reason)
            case StoreRefusal(reason, key) if not isinstance(message, ListJobs):
                fault = JobFault(key=key, problem=reason)
                said = JobRefused(job=_job_of(message), faults=(fault,))
            case JobEnd(job=job, phase=phase, reason=reason, at=at):
                said = JobEnded(job=job, phase=phase, reason=reason, at=at)
            case Plan(job=job, task=task):
                said = PlanStored(job=job, task=task)
            case Version(job=str(job), round=number):
                said = EvaluationStored(job=job, round=number)
            case StoredJob() if isinstance(message, ForgetJob):
                said = JobForgotten(job=result.job, rounds=result.rounds)
            case StoredJob():
                said = self._loaded(result)
            case tuple():
                said = JobsListed(jobs=result)
        return said

    def _loaded(self, job: StoredJob) -> JobLoaded:
        return JobLoaded(
            job=job.job,
            file=job.file,
            secret=job.secret,
            phase="running" if job.ended is None else job.ended.phase,
            reason="" if job.ended is None else job.ended.reason,
            rounds=job.rounds,
            latest=self._catalog.ref(job.latest),
            metrics=_metrics(job),
            plan=job.plan,
            submitted=job.submitted,
            ended=None if job.ended is None else job.ended.at,
        )


def _metrics(job: StoredJob) -> dict[str, float]:
    """Give the figures of the job's own last version; before its first round it has none."""
    return job.latest.metrics if job.rounds else {}


def _job_of(message: StoreJob | StorePlan | LoadJob | StoreEvaluation | EndJob | ForgetJob) -> str:
    return message.plan.job if isinstance(message, StorePlan) else message.job
