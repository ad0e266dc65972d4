"""Answers of the repository about jobs: to the requests or the running job that asked. Pure."""

from collections.abc import Container, Iterator

from fedbus.core.actions import Action, Cancel
from fedbus.core.keys import Key
from fedbus.wire.messages import (
    Acceptance,
    EvaluationStored,
    JobEnded,
    JobFileRefused,
    JobForgotten,
    JobLoaded,
    JobsListed,
    PlanRefused,
    PlanStored,
)
from fedbus_controller import keys
from fedbus_controller.leadership import Leadership
from fedbus_controller.requests.decisions import RequestDecisions
from fedbus_controller.requests.pending_requests import PendingRequests
from fedbus_controller.running_jobs import RunningJobs


class JobAnswers:
    """Passes each answer on; `open_asks` are the keys of the requests that are not answered."""

    def __init__(
        self,
        requests: RequestDecisions,
        pending: PendingRequests,
        jobs: RunningJobs,
        lease: Leadership,
        open_asks: Container[Key],
    ) -> None:
        self._requests = requests
        self._pending = pending
        self._jobs = jobs
        self._lease = lease
        self._open_asks = open_asks

    def handle(self, message: object, now: float) -> Iterator[Action]:
        """Handle an answer; of other messages yield nothing."""
        match message:
            case JobForgotten(job=name) if keys.JobRemoval(name) in self._open_asks:
                yield from self._requests.job_forgotten(message)
            case JobFileRefused() | JobsListed() | JobLoaded() | JobEnded():
                if self._lease.epoch is not None:
                    yield from self._under_lease(message, self._lease.epoch, now)
            case PlanStored(job=name, task=task):
                if job := self._jobs.running.get(name):
                    yield from job.plan_stored(task, now)
            case PlanRefused(job=name):
                if job := self._jobs.running.get(name):
                    yield from job.plan_refused(message, now)
            case EvaluationStored(job=name, round=number):
                yield Cancel(keys.EvaluationStorage(name, number))

    def _under_lease(
        self, message: JobFileRefused | JobsListed | JobLoaded | JobEnded, epoch: int, now: float
    ) -> Iterator[Action]:
        match message:
            case JobsListed(jobs=names):
                yield Cancel(keys.JobListing())
                self._jobs.listed = True
                for name in names:
                    # A job that is being stored is begun when its request is accepted.
                    if name not in self._jobs.ended and not self._pending.is_storing(name):
                        yield from self._jobs.load(name, epoch)
            case JobLoaded(job=name, acceptance=Acceptance() as acceptance):
                proposed = acceptance.proposed or name
                if self._pending.is_storing(proposed):
                    yield Cancel(keys.JobStorage(proposed))
                    yield from self._requests.job_stored(message, acceptance, now)
                    if name not in self._jobs.running:
                        yield from self._jobs.begin(message, epoch, now)
            case JobLoaded(job=name) if keys.LedgerLoading(name) in self._open_asks:
                yield from self._jobs.running[name].ledger_loaded(message)
            case JobLoaded(job=name) if self._jobs.is_loading(name):
                yield from self._jobs.begin(message, epoch, now)
            case JobFileRefused(job=name, faults=faults):
                yield Cancel(keys.JobStorage(name))
                if self._pending.is_storing(name):
                    yield from self._pending.job_refused(name, faults)
                else:
                    yield from self._jobs.plan_refused(name, epoch, faults[0].problem)
            case JobEnded(job=name, phase=phase, reason=reason):
                yield from self._pending.job_ended(name, phase, reason)
                yield from self._jobs.end(message, epoch, now)
