"""What a controller asks about jobs, and what it is answered. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from fedbus.actions import Action, Key, Send
from fedbus.wire.messages import (
    EndJob,
    JobEnded,
    JobFault,
    JobLoaded,
    JobRefused,
    JobsListed,
    JobStored,
    ListJobs,
    LoadJob,
    PlanStored,
    ScoreStored,
    StaleEpoch,
    StoreJob,
    StorePlan,
    StoreScore,
)
from fedbus.wire.values import Plan
from fedbus_repository.cards import Cards
from fedbus_repository.catalog import Catalog
from fedbus_repository.errands import Call, Errand, Errands
from fedbus_repository.store import Ended, Job, Refused, Stale, Store, Version
from fedbus_repository.suitability import unsuited

Question: TypeAlias = StoreJob | StorePlan | ListJobs | LoadJob | StoreScore | EndJob


class Jobs:
    """The desk for controllers."""

    def __init__(self, store: Store, errands: Errands, catalog: Catalog, cards: Cards) -> None:
        self._store, self._errands, self._catalog = store, errands, catalog
        self._cards = cards

    def ask(self, sender: str, message: Question) -> Iterator[Action]:
        """Take a question to the store."""
        about, call = self._call(message)
        key = (about[0], sender, *about[1:])
        yield from self._errands.start(key, sender, message, self._answer(sender, message, call))

    def _call(self, message: Question) -> tuple[Key, Callable[[], Any]]:
        store, epoch = self._store, message.epoch
        match message:
            case StoreJob(job=job, model=model, file=file):
                return ("store_job", job), partial(store.store_job, epoch, job, model, file)
            case StorePlan(plan=plan):
                key = ("store_plan", plan.job, plan.task)
                return key, partial(store.store_plan, epoch, plan)
            case ListJobs():
                return ("list_jobs",), partial(store.list_jobs, epoch)
            case LoadJob(job=job):
                return ("load_job", job), partial(store.load_job, epoch, job)
            case StoreScore(job=job, round=number, metrics=metrics):
                key = ("store_score", job, number)
                return key, partial(store.store_score, epoch, job, number, metrics)
        about = ("end_job", message.job)
        return about, partial(store.end_job, epoch, message.job, message.phase, message.reason)

    def _answer(self, sender: str, message: Question, call: Callable[[], Any]) -> Errand:
        if isinstance(message, StoreJob):
            faults = yield Call(partial(self._unsuited, message))
            if faults:
                return (Send(sender, JobRefused(job=message.job, faults=faults)),)
        result = yield Call(call)
        answer = self._said(message, result)
        if isinstance(answer, JobLoaded):
            needs = yield Call(partial(self._cards.needs, answer.latest.card))
            answer = replace(answer, needs=needs)
        said = () if answer is None else (Send(sender, answer),)
        if isinstance(result, Version):
            return (*said, *self._catalog.scored(result))
        return said

    def _unsuited(self, message: StoreJob) -> tuple[JobFault, ...]:
        """Say why a new job does not suit its model; one that is kept was asked when it came."""
        if not isinstance(self._store.load_job(message.epoch, message.job), Refused):
            return ()
        shown = self._store.show(message.model, None, 1)
        if isinstance(shown, Refused):
            return ()  # the store says so better
        return unsuited(message.file, self._cards.needs(shown[0].card))

    def _said(self, message: Question, result: object) -> object | None:
        said: object | None = None  # an old plan, or a round that nobody has committed
        match result:
            case Stale(epoch):
                said = StaleEpoch(epoch=epoch)
            case Refused(reason, key) if not isinstance(message, ListJobs):
                fault = JobFault(key=key, problem=reason)
                said = JobRefused(job=_job_of(message), faults=(fault,))
            case Ended(job=job, phase=phase, reason=reason):
                said = JobEnded(job=job, phase=phase, reason=reason)
            case Plan(job=job, task=task):
                said = PlanStored(job=job, task=task)
            case Version(job=str(job), round=number):
                said = ScoreStored(job=job, round=number)
            case Job() if isinstance(message, StoreJob):
                base = self._catalog.ref(result.base)
                said = JobStored(job=result.job, secret=result.secret, base=base)
            case Job():
                said = self._loaded(result)
            case tuple():
                said = JobsListed(jobs=result)
        return said

    def _loaded(self, job: Job) -> JobLoaded:
        return JobLoaded(
            job=job.job,
            file=job.file,
            secret=job.secret,
            phase="running" if job.ended is None else job.ended.phase,
            reason="" if job.ended is None else job.ended.reason,
            rounds=job.rounds,
            latest=self._catalog.ref(job.latest),
            metrics=job.latest.metrics,
            plan=job.plan,
        )


def _job_of(message: StoreJob | StorePlan | LoadJob | StoreScore | EndJob) -> str:
    return message.plan.job if isinstance(message, StorePlan) else message.job
