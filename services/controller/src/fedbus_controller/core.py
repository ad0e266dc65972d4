"""Decisions of the controller: events of the node to the lease, the fleet, jobs and requests. Pure.

It stores nothing itself. A job is accepted when the repository has stored it, and a restarted
controller continues the jobs that the repository lists as running. Of several controllers the one
with the lease acts.
"""

from collections.abc import Callable, Iterator
from itertools import chain

from fedbus.core.actions import (
    Action,
    Announce,
    AnnounceEncryptionKey,
    Ask,
    Cancel,
    Deliver,
    Note,
    Reply,
    Send,
)
from fedbus.core.events import Connected, Event, Local, Received, Requested, Woke
from fedbus.core.interface import Core
from fedbus.core.keys import Key
from fedbus.jobs import JobFile
from fedbus.jobs.parser import ExtraChecks
from fedbus.plugins import Selector
from fedbus.wire.documents import Heartbeat, JobState, NodeState, RefusedRequest
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.messages import (
    Dismissed,
    Evaluated,
    FeaturesReady,
    JobStopped,
    LeaseGranted,
    LeaseHeld,
    RoundEnded,
    RoundEndNoted,
    RoundOpened,
    StaleEpoch,
    TaskTaken,
)
from fedbus.wire.strategies import Strategy
from fedbus.wire.topics import (
    CANCEL,
    FORGET,
    HEARTBEAT,
    JOB_REFUSED,
    JOB_REQUEST,
    JOB_STATE,
    NODE_STATE,
    SUBMIT,
)
from fedbus_controller import keys
from fedbus_controller.fleet import Fleet
from fedbus_controller.job_answers import JobAnswers
from fedbus_controller.job_context import Services
from fedbus_controller.job_progress import JobStage
from fedbus_controller.leadership import Leadership
from fedbus_controller.requests.decisions import RequestDecisions
from fedbus_controller.requests.http_requests import (
    HTTP_REPLIES,
    Answer,
    AskRepository,
    CancelOverHttp,
    GiveUp,
    HttpRequests,
    SubmitOverHttp,
)
from fedbus_controller.requests.pending_requests import PendingRequests
from fedbus_controller.running_jobs import RunningJobs


class ControllerCore(Core):
    """Passes events to the part that they concern."""

    listens = NODE_STATE, HEARTBEAT, JOB_STATE, JOB_REFUSED, JOB_REQUEST, SUBMIT, CANCEL, FORGET

    def __init__(  # noqa: PLR0913, PLR0917 - one argument for each dependency
        self,
        incarnation: int,
        repository: str,
        heartbeat_seconds: float,
        selector: Callable[[str], Selector],
        strategy: Callable[[JobFile], Strategy],
        check_plugins: ExtraChecks,
        utc: Callable[[], Timestamp],
        encryption_key: str | None = None,
    ) -> None:
        self._repository, self._encryption_key = repository, encryption_key
        self._fleet = Fleet(heartbeat_seconds)
        self._lease = Leadership(incarnation, repository)
        self._open_asks: dict[Key, None] = {}
        services = Services(repository, self._fleet, selector, strategy, utc)
        self._jobs = RunningJobs(services, self._open_asks)
        self._pending = PendingRequests(services, check_plugins)
        self._requests = RequestDecisions(self._pending, self._jobs, self._lease, self._fleet)
        self._job_answers = JobAnswers(
            self._requests, self._pending, self._jobs, self._lease, self._open_asks
        )
        self._http = HttpRequests(repository)

    @property
    def leads(self) -> bool:
        """Whether this controller has the lease."""
        return self._lease.epoch is not None

    def job_states(self) -> list[JobState]:
        """Return the published states of the jobs that run here and of those that ended last."""
        return self._jobs.states()

    def count_nodes(self, now: float) -> dict[str, int]:
        """Return the numbers of online nodes, of agents by role."""
        return self._fleet.counts(now)

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Yield the actions that follow from an event."""
        match event:
            case Local(message):
                decided = self._on_http(message, now)
            case Received(sender, message) if sender == self._repository and isinstance(
                message, Answer
            ):
                decided = self._http.answered(message)
            case _:
                decided = self._decide(event, now)
        for action in chain(self._check_lease(now), decided):
            if isinstance(action, Ask):
                self._open_asks[action.key] = None
            elif isinstance(action, Cancel):
                self._open_asks.pop(action.key, None)
            elif isinstance(action, Reply) and action.to.topic == HTTP_REPLIES:
                yield from self._http.delivered(action)
                continue
            yield action

    def _check_lease(self, now: float) -> Iterator[Action]:
        if self._lease.has_expired(now):
            # This process was suspended or disconnected, and another controller may lead. What it
            # knows may be out of date, and users would take its documents for the truth.
            yield from self._lose_lease(renewed=False)

    def _decide(self, event: Event, now: float) -> Iterator[Action]:
        match event:
            case Connected():
                self._pending.reconnected()
                self._fleet.reconnected(now)
                if self._encryption_key is not None:
                    yield AnnounceEncryptionKey(self._encryption_key)
                yield self._lease.ask(now)
                for state in self._jobs.states():
                    yield Announce(JOB_STATE, state)
            case Received(_, NodeState() as state):
                if self._fleet.update(state, now):
                    for running in self._jobs.running.values():
                        yield from running.node_restarted(state.node, now)
            case Received(sender, Heartbeat() as heartbeat):
                self._fleet.heard(sender, heartbeat, now)
            case Received(_, JobState() | RefusedRequest() as document):
                yield from self._requests.decided_elsewhere(document, now)
            case Received(sender, message) if sender == self._repository:
                yield from self._on_repository(message, now)
                yield from self._requests.decide()
            case Received(sender, message):
                yield from self._on_node(sender, message, now)
            case Requested():
                yield from self._requests.receive(event, now)
            case Woke(key):
                yield from self._on_timer(key, now)

    def _on_http(self, message: object, now: float) -> Iterator[Action]:
        match message:
            case SubmitOverHttp() | CancelOverHttp():
                if self._lease.epoch is None:
                    yield Deliver(message.deliver, None)  # the client asks the one that leads
                else:
                    yield from self._requests.receive(self._http.as_requested(message), now)
            case AskRepository():
                yield from self._http.ask(message)
            case GiveUp(deliver):
                yield from self._http.give_up(deliver)

    def _on_timer(self, key: Key, now: float) -> Iterator[Action]:
        match key:
            case keys.LeaseRenewal():
                yield self._lease.ask(now)
            case keys.StopDeadline(name):
                yield from self._jobs.cancel_stop_requests(name)
            case keys.JobTimer(name) if job := self._jobs.running.get(name):
                if not isinstance(key, keys.PlanStorageDeadline):
                    yield from job.handle(key, now)
                elif job.progress.stage is JobStage.PLANNING:
                    yield from self._jobs.reload(name)

    def _lead(self, granted: LeaseGranted, now: float) -> Iterator[Action]:
        if not (yield from self._lease.granted(granted, now)):
            return
        if self._lease.epoch != granted.epoch:
            yield from self._step_down()
            self._lease.epoch = granted.epoch
            yield Note("lease_taken", {"epoch": granted.epoch})
        # With every renewal, so that jobs which were missed or released are found again.
        yield self._jobs.list_jobs(granted.epoch)

    def _lose_lease(self, **facts: object) -> Iterator[Action]:
        if self._lease.epoch is not None:
            yield Note("lease_lost", facts)
            yield from self._step_down()

    def _step_down(self) -> Iterator[Action]:
        """Release all jobs, and cancel all asks except that for the lease."""
        self._lease.epoch = None
        yield from self._jobs.clear()
        kept = keys.LeaseRequest, keys.RepositoryQuestion  # all others are of an earlier epoch
        for key in [key for key in self._open_asks if not isinstance(key, kept)]:
            yield Cancel(key)
        self._pending.lease_lost()

    def _on_repository(self, message: object, now: float) -> Iterator[Action]:
        match message:
            case LeaseGranted() if keys.LeaseRequest() in self._open_asks:
                yield from self._lead(message, now)
            case LeaseHeld(seconds=seconds) if keys.LeaseRequest() in self._open_asks:
                yield from self._lease.wait(seconds, now)
                yield from self._lose_lease(holder=message.holder)
                if self._lease.other_renewed(now + seconds):
                    yield from self._pending.lease_renewed_elsewhere()
            case StaleEpoch(epoch=epoch):
                if self._lease.is_overtaken(epoch):
                    yield from self._lose_lease(epoch=epoch)
                    yield self._lease.ask(now)
            case _:
                yield from self._job_answers.handle(message, now)

    def _on_node(self, sender: str, message: object, now: float) -> Iterator[Action]:
        match message:
            case StaleEpoch(epoch=epoch):
                if self._lease.epoch is not None and epoch > self._lease.epoch:
                    yield self._lease.ask(now)  # the repository decides whether the epoch is higher
            case (
                TaskTaken(job=name)
                | RoundOpened(job=name)
                | Dismissed(job=name)
                | Evaluated(job=name)
                | FeaturesReady(job=name)
            ):
                if job := self._jobs.running.get(name):
                    yield from job.receive(sender, message, now)
            case RoundEnded(job=name, task=task):
                if self._lease.epoch is not None and self._jobs.knows(name):
                    yield Send(sender, RoundEndNoted(job=name, task=task))
                    if job := self._jobs.running.get(name):
                        yield from job.round_ended(message, now)
            case JobStopped(job=name):
                yield from self._jobs.stopped(name, sender)
