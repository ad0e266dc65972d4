"""What the controller decides: who leads, which jobs run, whose news belongs to which. Pure.

It stores nothing itself. A job is accepted once the repository has it, and a restarted controller
goes on with what the repository says is running. Of several controllers the one that holds the
lease acts.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from fedbus.core.actions import Action, Announce, Ask, Cancel, Clear, Note, Send, WakeAt
from fedbus.core.events import Connected, Event, Received, ReplyTo, Requested, Woke
from fedbus.core.keys import Key
from fedbus.jobs import JobFileError, parse
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.plugins import Selector
from fedbus.scalars import IDENT_SAID
from fedbus.wire.documents import (
    ENDED_PHASES,
    AgentFacts,
    Heartbeat,
    JobState,
    NodeState,
    RefusedRequest,
)
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.messages import (
    Acceptance,
    Dismissed,
    EndJob,
    Evaluated,
    EvaluationStored,
    JobEnded,
    JobForgotten,
    JobLoaded,
    JobRefused,
    JobsListed,
    JobStopped,
    LeaseGranted,
    LeaseHeld,
    ListJobs,
    LoadJob,
    PlanStored,
    RoundEnded,
    RoundEndNoted,
    RoundOpened,
    StaleEpoch,
    TaskTaken,
)
from fedbus.wire.topics import (
    CANCEL,
    FORGET,
    HEARTBEAT,
    JOB_REFUSED,
    JOB_REQUEST,
    JOB_STATE,
    NODE_STATE,
    ROUND_STATE,
    SUBMIT,
    Topic,
)
from fedbus_controller import keys
from fedbus_controller.fleet import Fleet
from fedbus_controller.job_context import Services
from fedbus_controller.leadership import Leadership
from fedbus_controller.requests.job_files import NO_ID, PluginCheck, forgotten, job_named
from fedbus_controller.requests.pending_requests import PendingRequests
from fedbus_controller.requests.request_queue import UserRequest
from fedbus_controller.running_job import RunningJob

REMEMBERED = 256
STOP_SECONDS = 600.0
"""How long a job's agents are told that it is over. Who hears it later offers, and learns it."""


class ControllerCore:
    """The lease, the fleet, the jobs."""

    listens: tuple[Topic, ...] = (
        NODE_STATE,
        HEARTBEAT,
        JOB_STATE,
        JOB_REFUSED,
        JOB_REQUEST,
        SUBMIT,
        CANCEL,
        FORGET,
    )

    def __init__(  # noqa: PLR0913, PLR0917 - one argument for each thing a controller is given
        self,
        incarnation: int,
        repository: str,
        heartbeat_seconds: float,
        selector: Callable[[str], Selector],
        check_plugins: PluginCheck,
        utc: Callable[[], Timestamp],
    ) -> None:
        self._repository = repository
        self._fleet = Fleet(heartbeat_seconds)
        self._services = Services(repository, self._fleet, selector, utc)
        self._requests = PendingRequests(repository, check_plugins, utc)
        self._lease = Leadership(incarnation, repository)
        self._listed = False  # whether it has told which jobs run
        self._jobs: dict[str, RunningJob] = {}
        self._over: OrderedDict[str, JobState] = OrderedDict()
        self._asked: dict[Key, None] = {}  # what is not answered yet

    def facts(self) -> AgentFacts | None:
        """Nothing to announce beyond being there."""
        return None

    def progress(self) -> float:
        """Jobs say for themselves how far they are."""
        return 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Decide what follows from an event."""
        for action in self._decide(event, now):
            if isinstance(action, Ask):
                self._asked[action.key] = None
            elif isinstance(action, Cancel):
                self._asked.pop(action.key, None)
            yield action

    def _decide(self, event: Event, now: float) -> Iterator[Action]:
        if self._lease.is_over(now):
            # This process stood still, or was cut off: another one may lead since. Whatever we
            # believe may be out of date, and people would take our last word for the truth.
            yield from self._lose(renewed=False)
        match event:
            case Connected():
                self._requests.reconnected()
                self._fleet.reconnected(now)
                yield self._lease.ask(now)
                for state in (*(job.state() for job in self._jobs.values()), *self._over.values()):
                    yield Announce(JOB_STATE, state)
            case Received(_, NodeState() as state):
                if self._fleet.introduce(state, now):
                    for running in self._jobs.values():
                        yield from running.reborn(state.node)
            case Received(sender, Heartbeat() as heartbeat):
                self._fleet.beat(sender, heartbeat, now)
            case Received(_, JobState() | RefusedRequest() as said):
                yield from self._said_elsewhere(said, now)
            case Received(sender, message) if sender == self._repository:
                yield from self._told(message, now)
                yield from self._decide_requests()
            case Received(sender, message):
                yield from self._heard(sender, message, now)
            case Requested():
                yield from self._requested(event, now)
            case Woke(key):
                yield from self._woke(key, now)
            case _:
                pass

    def _woke(self, key: Key, now: float) -> Iterator[Action]:
        match key:
            case keys.LeaseRenewal():
                yield self._lease.ask(now)
            case keys.StopDeadline(name):
                for asked in self._stop_requests(name):
                    yield Cancel(asked)
            case keys.JobTimer(name) if job := self._jobs.get(name):
                yield from self._woke_job(key, job, now)
            case _:
                pass

    def _woke_job(self, key: keys.JobTimer, job: RunningJob, now: float) -> Iterator[Action]:
        match key:
            case keys.PlanningRetry():
                yield from job.look(now)
            case keys.LivenessCheck():
                yield from job.watch(now)
            case keys.EvaluationDeadline():
                yield from job.scores_due(now)
            case keys.PlanStorageDeadline() if job.stuck:
                yield from self._reload(job.id)
            case _:
                pass

    # ── the lease ─────────────────────────────────────────────────────────────────────────────────

    def _lead(self, granted: LeaseGranted, now: float) -> Iterator[Action]:
        if not (yield from self._lease.granted(granted, now)):
            return
        if self._lease.epoch != granted.epoch:
            yield from self._step_down()
            self._lease.epoch = granted.epoch
            yield Note("lease_taken", {"epoch": granted.epoch})
        # Asked with every renewal: whatever we missed or let go of is found again.
        yield Ask(keys.JobListing(), self._repository, ListJobs(epoch=granted.epoch))

    def _lose(self, **facts: object) -> Iterator[Action]:
        if self._lease.epoch is not None:
            yield Note("lease_lost", facts)
            yield from self._step_down()

    def _step_down(self) -> Iterator[Action]:
        """Forget all jobs: another controller runs them, or we load them again."""
        self._lease.epoch, self._listed = None, False
        for job in self._jobs.values():
            yield from job.let_go()
        for key in [key for key in self._asked if key != keys.LeaseRequest()]:
            yield Cancel(key)  # asked under an epoch that is over
        self._jobs.clear()
        self._over.clear()  # another one may have been told to forget some of them
        self._requests.forget()

    # ── the repository's answers ──────────────────────────────────────────────────────────────────

    def _told(self, message: object, now: float) -> Iterator[Action]:
        match message:
            case LeaseGranted() if keys.LeaseRequest() in self._asked:
                yield from self._lead(message, now)
            case LeaseHeld(holder=holder, seconds=seconds) if keys.LeaseRequest() in self._asked:
                yield from self._lease.wait(seconds, now)
                yield from self._lose(holder=holder)
                if self._lease.led_by_another(now + seconds):
                    yield from self._requests.led()
            case StaleEpoch(epoch=epoch):
                if self._lease.overtaken(epoch):
                    yield from self._lose(epoch=epoch)
                    yield self._lease.ask(now)
            case JobForgotten(job=name) if keys.JobRemoval(name) in self._asked:
                yield from self._forgotten(message)
            case JobRefused() | JobsListed() | JobLoaded() | JobEnded():
                if self._lease.epoch is not None:
                    yield from self._told_of_job(message, self._lease.epoch, now)
            case PlanStored(job=name, task=task):
                if job := self._jobs.get(name):
                    yield from job.planned(task, now)
            case EvaluationStored(job=name, round=number):
                yield Cancel(keys.EvaluationStorage(name, number))
            case _:
                pass

    def _told_of_job(
        self,
        message: JobRefused | JobsListed | JobLoaded | JobEnded,
        epoch: int,
        now: float,
    ) -> Iterator[Action]:
        match message:
            case JobsListed(jobs=jobs):
                yield Cancel(keys.JobListing())
                self._listed = True
                for name in jobs:
                    # One that is being stored is loaded once its request is settled.
                    if name not in self._over and not self._requests.storing(name):
                        yield from self._load(name, epoch)
            case JobLoaded(job=name, acceptance=Acceptance() as acceptance):
                if self._requests.storing(acceptance.proposed or name):
                    yield from self._accepted(message, acceptance, epoch, now)
            case JobRefused(job=name, faults=faults):
                yield Cancel(keys.JobStorage(name))
                yield from self._requests.refused(name, faults)
            case JobLoaded(job=name) if keys.JobLoading(name) in self._asked:
                yield Cancel(keys.JobLoading(name))
                yield from self._begin(message, epoch, now)
            case JobEnded(job=name, phase=phase, reason=reason, at=at):
                yield Cancel(keys.JobEnding(name))
                yield from self._requests.ended(name, phase, reason)
                if job := self._jobs.pop(name, None):
                    yield from job.ended(phase, reason, at)
                    yield WakeAt(keys.StopDeadline(name), now + STOP_SECONDS)
                    self._remember(job.state(phase))
                    if phase != "finished":
                        # The round under way may have been committed first: let it be said.
                        yield from self._load(name, epoch)
            case _:
                pass

    def _accepted(
        self, loaded: JobLoaded, acceptance: Acceptance, epoch: int, now: float
    ) -> Iterator[Action]:
        """Answer who submitted a job, and begin it unless it runs."""
        yield Cancel(keys.JobStorage(acceptance.proposed or loaded.job))
        judged = any(self._fleet.agents("evaluate", now))
        agents = {**dict(self._fleet.agents("train", now))}
        online = len(agents)
        agents |= dict(self._fleet.agents("evaluate", now))
        trainers = [facts.trainers for facts in agents.values()]
        yield from self._requests.stored(
            loaded, acceptance, online=online, judged=judged, trainers=trainers
        )
        if loaded.job not in self._jobs:
            yield Cancel(keys.JobLoading(loaded.job))
            yield from self._begin(loaded, epoch, now)

    def _load(self, name: str, epoch: int) -> Iterator[Action]:
        if name not in self._jobs and keys.JobLoading(name) not in self._asked:
            yield Ask(keys.JobLoading(name), self._repository, LoadJob(epoch=epoch, job=name))

    def _reload(self, name: str) -> Iterator[Action]:
        """Let go of a job; the next list of running jobs has it again."""
        yield Note("job_reloaded", {"job": name})
        yield from self._jobs.pop(name).let_go()

    def _begin(self, loaded: JobLoaded, epoch: int, now: float) -> Iterator[Action]:
        try:
            file = parse(loaded.file)
        except JobFileError as error:  # stored by a version that knew more, or less, than this one
            yield from self._end_unread(loaded, epoch, str(error))
            return
        job = RunningJob(loaded, file, epoch, self._services, now)
        if loaded.phase != "running":
            # Perhaps its end was stored, and its controller killed before it could say so.
            yield from self._over_again(job.was_ended(loaded))
            return
        self._jobs[loaded.job] = job
        yield Note("job_started", {"job": loaded.job, "rounds": loaded.rounds})
        yield from job.resume(now)

    def _end_unread(self, loaded: JobLoaded, epoch: int, problem: str) -> Iterator[Action]:
        """Free the model of a job that nobody can run."""
        phase, reason = loaded.phase, loaded.reason
        if phase == "running":
            phase = "failed"
            reason = f"its job file cannot be read any more: {problem}"[:MAX_TEXT_CHARACTERS]
            yield Note("job_unreadable", {"job": loaded.job, "reason": reason})
            end = EndJob(epoch=epoch, job=loaded.job, phase=phase, reason=reason)
            yield Ask(keys.JobEnding(loaded.job), self._repository, end)
        state = JobState(
            job=loaded.job,
            model=loaded.latest.model,
            phase=phase,
            round=loaded.rounds,
            num_rounds=loaded.rounds,
            metrics=loaded.metrics,
            reason=reason,
            version=loaded.latest.version,
            submitted=loaded.submitted,
            ended=loaded.ended,
            at=self._services.utc(),
        )
        yield from self._over_again(state)

    def _over_again(self, state: JobState) -> Iterator[Action]:
        self._remember(state)
        yield Announce(JOB_STATE, state)

    def _remember(self, state: JobState) -> None:
        self._over[state.job] = state
        while len(self._over) > REMEMBERED:
            self._over.popitem(last=False)

    # ── the fleet's answers ───────────────────────────────────────────────────────────────────────

    def _heard(self, sender: str, message: object, now: float) -> Iterator[Action]:
        match message:
            case StaleEpoch(epoch=epoch) if (
                self._lease.epoch is not None and epoch > self._lease.epoch
            ):
                yield self._lease.ask(now)  # the repository knows whether that is so
            case TaskTaken(job=name) | RoundOpened(job=name) | Dismissed(job=name):
                if job := self._jobs.get(name):
                    yield from job.answered(sender, message)
            case Evaluated(job=name):
                if job := self._jobs.get(name):
                    yield from job.evaluated(sender, message, now)
            case RoundEnded(job=name, task=task) if self._knows(name):
                yield Send(sender, RoundEndNoted(job=name, task=task))
                if job := self._jobs.get(name):
                    yield from job.round_ended(message, now)
            case JobStopped(job=name):
                yield Cancel(keys.StopRequest(name, sender))
                if not self._stop_requests(name):
                    yield Cancel(keys.StopDeadline(name))
            case _:
                pass

    def _stop_requests(self, job: str) -> list[Key]:
        """List which nodes have not answered yet that they have stopped."""
        return [a for a in self._asked if isinstance(a, keys.StopRequest) and a.job == job]

    def _knows(self, name: str) -> bool:
        """Tell whether we run this job, or know that nobody does any more."""
        return self._lease.epoch is not None and (
            name in self._jobs or (self._listed and keys.JobLoading(name) not in self._asked)
        )

    # ── people ────────────────────────────────────────────────────────────────────────────────────

    def _requested(self, event: Requested, now: float) -> Iterator[Action]:
        if event.topic != FORGET:
            yield from self._requests.arrived(event, led=self._lease.is_led(now))
            yield from self._decide_requests()
        elif self._lease.epoch is not None:
            yield from self._forget(event.payload, event.reply, self._lease.epoch)

    def _forget(self, payload: bytes, reply: ReplyTo | None, epoch: int) -> Iterator[Action]:
        name = job_named(payload)
        if name is not None:
            yield from self._requests.forget_job(name, reply, epoch)
        elif reply is not None:
            yield forgotten(reply, "", NO_ID)

    def _forgotten(self, answer: JobForgotten) -> Iterator[Action]:
        """Clear what is retained of a job, and remember it no more."""
        name = answer.job
        yield Cancel(keys.JobRemoval(name))
        if not answer.reason:
            self._over.pop(name, None)
            yield Note("job_forgotten", {"job": name})
            for number in range(1, answer.rounds + 1):
                yield Clear(ROUND_STATE, {"job": name, "round": str(number)})
            yield Clear(JOB_STATE, {"job": name})
        yield from self._requests.job_forgotten(answer)

    def _decide_requests(self) -> Iterator[Action]:
        """Decide what people asked for, as far as it can be decided now."""
        if self._lease.epoch is None:
            return
        for request in self._requests.undecided():
            if request.is_cancel:
                yield from self._cancel(request)
            else:
                yield from self._requests.submit(request, self._lease.epoch)

    def _cancel(self, request: UserRequest) -> Iterator[Action]:
        name = request.job
        over = self._over.get(name)
        if name in self._jobs:
            self._requests.cancel(request)
            yield from self._jobs[name].end("cancelled", "cancelled by a user")
        elif not name:
            yield from self._requests.not_canceled(request, f"{NO_ID}: {IDENT_SAID}")
        elif over is not None:
            self._requests.cancel(request)
            yield from self._requests.ended(name, over.phase, over.reason)
        elif (
            keys.JobLoading(name) in self._asked or self._requests.storing(name) or not self._listed
        ):
            self._requests.hold(request)
        else:
            running = ", ".join(sorted(self._jobs)) or "none"
            why = f"no running job of this id; running: {running}"
            yield from self._requests.not_canceled(request, why)

    def _said_elsewhere(self, said: JobState | RefusedRequest, now: float) -> Iterator[Action]:
        """Leave to the controller that leads what it has decided."""
        if not self._lease.is_led(now):
            return  # nobody leads, or we do; it may be retained since long ago
        if isinstance(said, JobState):
            yield from self._requests.stored_elsewhere(said.job, over=said.phase in ENDED_PHASES)
        else:
            yield from self._requests.refused_elsewhere(said)
