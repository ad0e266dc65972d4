"""What the controller decides: who leads, which jobs run, whose news belongs to which. Pure.

It stores nothing itself. A job is accepted once the repository has it, and a restarted controller goes on
with what the repository says is running. Of several controllers the one that holds the lease acts.
"""

from collections.abc import Callable, Iterator

from fedbus.actions import (
    Action,
    Announce,
    Ask,
    Cancel,
    Connected,
    Event,
    Note,
    Received,
    ReplyTo,
    Requested,
    Send,
    WakeAt,
    Woke,
)
from fedbus.plugins import Selector
from fedbus.wire.jobfile import Fault, JobFile, JobFileError, parse
from fedbus.wire.messages import (
    Dismissed,
    Evaluated,
    JobEnded,
    JobLoaded,
    JobRefused,
    JobsListed,
    JobStopped,
    JobStored,
    LeaseGranted,
    LeaseHeld,
    ListJobs,
    LoadJob,
    Noted,
    PlanStored,
    RoundEnded,
    RoundOpened,
    ScoreStored,
    StaleEpoch,
    StoreJob,
    TakeLease,
    TaskTaken,
)
from fedbus.wire.states import AgentFacts, Heartbeat, JobState, NodeState
from fedbus.wire.topics import CANCEL, HEARTBEAT, JOB_STATE, NODE_STATE, SUBMIT, Topic
from fedbus_controller.fleet import Fleet
from fedbus_controller.job import Job, Means
from fedbus_controller.submission import (
    PluginCheck,
    accepted,
    canceled,
    job_named,
    read_job,
    refused,
)


class ControllerCore:
    """The lease, the fleet, the jobs."""

    listens: tuple[Topic, ...] = (NODE_STATE, HEARTBEAT, SUBMIT, CANCEL)

    def __init__(
        self,
        incarnation: int,
        repository: str,
        heartbeat_seconds: float,
        selector: Callable[[str], Selector],
        check_plugin: PluginCheck,
    ) -> None:
        self._incarnation = incarnation
        self._repository = repository
        self._fleet = Fleet(heartbeat_seconds)
        self._selector = selector
        self._check_plugin = check_plugin
        self._epoch: int | None = None  # None: another controller leads, or nobody yet
        self._jobs: dict[str, Job] = {}
        self._over: dict[str, JobState] = {}
        self._submitted: dict[str, list[ReplyTo]] = {}

    def facts(self) -> AgentFacts | None:
        """Nothing to announce beyond being there."""
        return None

    def progress(self) -> float:
        """Jobs say for themselves how far they are."""
        return 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Decide what follows from an event."""
        match event:
            case Connected():
                self._fleet.reconnected(now)
                yield self._ask_lease()
                for state in (*(job.state() for job in self._jobs.values()), *self._over.values()):
                    yield Announce(JOB_STATE, state)
            case Received(_, NodeState() as state):
                if self._fleet.introduce(state, now):
                    for running in list(self._jobs.values()):
                        yield from running.reborn(state.node)
            case Received(sender, Heartbeat() as heartbeat):
                self._fleet.beat(sender, heartbeat, now)
            case Received(sender, message) if sender == self._repository:
                yield from self._told(message, now)
            case Received(sender, message):
                yield from self._heard(sender, message, now)
            case Requested(topic, _, payload, _, reply) if self._epoch is not None:
                answer = self._submit if topic == SUBMIT else self._cancel
                yield from answer(payload, reply)
            case Woke(("lease",)):
                yield self._ask_lease()
            case Woke((str(what), str(name))) if name in self._jobs:
                yield from self._woke(what, self._jobs[name], now)
            case _:
                pass

    def _woke(self, what: str, job: Job, now: float) -> Iterator[Action]:
        match what:
            case "look":
                yield from job.look(now)
            case "watch":
                yield from job.watch(now)
            case "score":
                yield from job.scores_due(now)

    # ── the lease ──────────────────────────────────────────────────────────────────────────────────

    def _ask_lease(self) -> Ask:
        return Ask(("lease",), self._repository, TakeLease(incarnation=self._incarnation))

    def _lead(self, granted: LeaseGranted, now: float) -> Iterator[Action]:
        yield Cancel(("lease",))
        yield WakeAt(("lease",), now + granted.seconds / 3)
        if self._epoch != granted.epoch:
            yield from self._step_down()
            self._epoch = granted.epoch
            yield Note("lease_taken", {"epoch": granted.epoch})
            yield Ask(("jobs",), self._repository, ListJobs(epoch=granted.epoch))

    def _step_down(self) -> Iterator[Action]:
        """Forget all jobs: another controller runs them, or we load them again."""
        self._epoch = None
        yield Cancel(("jobs",))
        for name in [*self._jobs, *self._submitted]:
            yield Cancel(("load", name))
        for job in self._jobs.values():
            yield from job.let_go()
        self._jobs.clear()
        self._submitted.clear()

    # ── the repository's answers ───────────────────────────────────────────────────────────────────

    def _told(self, message: object, now: float) -> Iterator[Action]:
        match message:
            case LeaseGranted():
                yield from self._lead(message, now)
            case LeaseHeld(holder=holder, seconds=seconds):
                yield Cancel(("lease",))
                yield WakeAt(("lease",), now + seconds)
                if self._epoch is not None:
                    yield Note("lease_lost", {"holder": holder})
                    yield from self._step_down()
            case StaleEpoch(epoch=epoch) if self._epoch is not None and epoch > self._epoch:
                yield Note("lease_lost", {"epoch": epoch})
                yield from self._step_down()
                yield self._ask_lease()
            case JobsListed(jobs=jobs) if self._epoch is not None:
                yield Cancel(("jobs",))
                for name in jobs:
                    yield from self._load(name)
            case JobStored(job=name):
                yield Cancel(("store", name))
                for reply in self._submitted.pop(name, []):
                    yield accepted(reply, name)
                yield from self._load(name)
            case JobRefused(job=name, reason=reason):
                yield Cancel(("store", name))
                for reply in self._submitted.pop(name, []):
                    yield refused(reply, name, (Fault(key="training_id", problem=reason),))
            case JobLoaded() if self._epoch is not None:
                yield Cancel(("load", message.job))
                yield from self._begin(message, now)
            case PlanStored(job=name, task=task):
                if job := self._jobs.get(name):
                    yield from job.planned(task, now)
            case ScoreStored(job=name, round=number):
                yield Cancel(("store-score", name, number))
            case JobEnded(job=name, phase=phase, reason=reason):
                if job := self._jobs.pop(name, None):
                    yield from job.ended(phase, reason)
                    self._over[name] = job.state(phase)
            case _:
                pass

    def _load(self, name: str) -> Iterator[Action]:
        if self._epoch is not None and name not in self._jobs:
            yield Ask(("load", name), self._repository, LoadJob(epoch=self._epoch, job=name))

    def _begin(self, loaded: JobLoaded, now: float) -> Iterator[Action]:
        if loaded.job in self._jobs or self._epoch is None:
            return
        try:
            file = parse(loaded.file)
        except JobFileError as error:  # stored by a version that knew more, or less, than this one
            yield Note("job_unreadable", {"job": loaded.job, "reason": str(error)})
            return
        means = Means(self._repository, self._fleet, self._selector)
        job = Job(loaded, file, self._epoch, means, now)
        if loaded.phase != "running":
            # Perhaps its end was stored, and its controller killed before it could say so.
            yield from job.was_ended(loaded.phase, loaded.reason)
            self._over[loaded.job] = job.state(loaded.phase)
            return
        self._jobs[loaded.job] = job
        yield Note("job_begun", {"job": loaded.job, "rounds": loaded.rounds})
        yield from job.resume(now)

    # ── the fleet's answers ────────────────────────────────────────────────────────────────────────

    def _heard(self, sender: str, message: object, now: float) -> Iterator[Action]:
        match message:
            case StaleEpoch(epoch=epoch) if self._epoch is not None and epoch > self._epoch:
                yield from self._step_down()
                yield self._ask_lease()
            case TaskTaken(job=name):
                yield Cancel(("task", name, sender))
            case RoundOpened(job=name, task=task):
                if (job := self._jobs.get(name)) and job.plan and job.plan.task == task:
                    yield Cancel(("open", name))
            case Dismissed(job=name, agents=agents):
                for agent in agents:
                    yield Cancel(("dismiss", name, agent))
            case Evaluated(job=name):
                if job := self._jobs.get(name):
                    yield from job.evaluated(sender, message, now)
            case RoundEnded(job=name, task=task):
                if job := self._jobs.get(name):
                    yield from job.round_ended(sender, message, now)
                elif self._epoch is not None and name in self._over:
                    yield Send(sender, Noted(job=name, task=task))
            case JobStopped(job=name):
                yield Cancel(("stop", name, sender))
            case _:
                pass

    # ── people ─────────────────────────────────────────────────────────────────────────────────────

    def _submit(self, payload: bytes, reply: ReplyTo | None) -> Iterator[Action]:
        try:
            file = read_job(payload, self._check_plugin)
        except JobFileError as error:
            yield Note("job_refused", {"faults": len(error.faults)})
            if reply is not None:
                yield refused(reply, "", error.faults)
            return
        yield from self._store(file, payload, reply)

    def _store(self, file: JobFile, payload: bytes, reply: ReplyTo | None) -> Iterator[Action]:
        assert self._epoch is not None  # noqa: S101 - only a leader is asked
        name = file.training_id
        waiting = self._submitted.setdefault(name, [])
        if reply is not None:
            waiting.append(reply)
        store = StoreJob(epoch=self._epoch, job=name, model=file.model_name, file=payload)
        yield Ask(("store", name), self._repository, store)

    def _cancel(self, payload: bytes, reply: ReplyTo | None) -> Iterator[Action]:
        name = job_named(payload)
        reason = ""
        if name is None:
            reason = "not a job's id; send it bare, or as a JSON string"
        elif job := self._jobs.get(name):
            yield from job.end("cancelled", "cancelled by a user")
        elif over := self._over.get(name):
            reason = f"it has already {over.phase}: {over.reason}"
        else:
            running = ", ".join(sorted(self._jobs)) or "none"
            reason = f"no running job of this id; running: {running}"
        if reply is not None:
            yield canceled(reply, name or "", reason)
