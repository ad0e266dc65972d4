"""Test harness of the controller: it plays the repository, the fleet and the users."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from fedbus.core.actions import Clear, Settle
from fedbus.core.events import Connected, ReplyTo, Requested
from fedbus.core.keys import Key
from fedbus.errors import PluginError
from fedbus.jobs import JobFault, JobFile, StrategyConfig
from fedbus.plugins import AgentInfo, Selector
from fedbus.strategies.resolution import resolve, resolve_job
from fedbus.strategies.selection import uniform
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.documents import AgentFacts, Heartbeat, JobState, NodeState
from fedbus.wire.messages import (
    Acceptance,
    EvaluateTask,
    JobLoaded,
    JobsListed,
    LeaseGranted,
    ListJobs,
    LoadJob,
    PlanStored,
    RoundEnded,
    StorePlan,
)
from fedbus.wire.round_records import Contributor, Plan, Refusal, RoundRecord
from fedbus.wire.timestamps import format_timestamp
from fedbus.wire.topics import CANCEL, FORGET, JOB_REQUEST, SUBMIT
from fedbus_controller import keys
from fedbus_controller.core import ControllerCore
from tests.core_harness import CoreHarness

REPOSITORY, COLLECTOR, OTHER_COLLECTOR = "repository.1", "collector.1", "collector.2"
A, B, C = "agent.a", "agent.b", "agent.c"
EVALUATOR = "agent.evaluator"
JOB = "job-1"
BEAT = 1.0
LEASE_PATIENCE = 3
REPLY = ReplyTo("fedbus/v1/replies/me", b"7", None)
SPEC = BlobRef(digest="c" * 64, size=10)

STRATEGY = resolve(StrategyConfig())


def job_file(**changes: Any) -> bytes:  # noqa: ANN401 - whatever a job file holds
    """Write a job file for three agents, of whom two must answer."""
    plain = {
        "training_id": JOB,
        "model_name": "digits",
        "num_rounds": 2,
        "round": {"agents": 3, "quorum": 2, "deadline_seconds": 10},
    }
    return json.dumps(plain | changes).encode()


def version(number: int) -> ModelRef:
    """Name a version of the model."""
    weights = BlobRef(digest=f"{number:064x}", size=100)
    return ModelRef(model="digits", version=number, weights=weights, spec=SPEC, source=REPOSITORY)


def loaded(**changes: Any) -> JobLoaded:  # noqa: ANN401 - any field
    """Build the repository's answer about a job without rounds."""
    fresh = JobLoaded(
        job=JOB,
        file=job_file(),
        secret=b"s" * 32,
        phase="running",
        reason="",
        rounds=0,
        latest=version(1),
        metrics={},
        plan=None,
    )
    return replace(fresh, **changes)


def accepted(
    *,
    known: bool = False,
    proposed: str | None = None,
    warnings: tuple[str, ...] = (),
    **changes: Any,  # noqa: ANN401 - any field
) -> JobLoaded:
    """Build the repository's answer to a job file that it has stored."""
    acceptance = Acceptance(known=known, proposed=proposed, warnings=warnings)
    return loaded(acceptance=acceptance, **changes)


def record(plan: Plan, **metrics: float) -> RoundRecord:
    """Write the record of a round in which all but the last of the cohort counted."""
    *counted, late = plan.cohort
    return RoundRecord(
        job=plan.job,
        round=plan.round,
        task=plan.task,
        model="digits",
        parent=plan.base.version,
        spec=SPEC,
        strategy=STRATEGY,
        contributors=tuple(
            Contributor(agent=agent, task=plan.task, examples=5, update="d" * 64, metrics=metrics)
            for agent in counted
        ),
        refusals=(Refusal(agent=late, reason="no update by the deadline"),),
        metrics=metrics,
        seconds={"collected": 1.0},
    )


def committed(plan: Plan, **metrics: float) -> RoundEnded:
    """Build the report of a committed round."""
    return RoundEnded(
        job=plan.job,
        round=plan.round,
        task=plan.task,
        version=version(plan.base.version + 1),
        reason="",
        record=record(plan, **metrics),
    )


def failed(plan: Plan, reason: str = "too few") -> RoundEnded:
    """Build the report of a failed round."""
    return RoundEnded(
        job=plan.job,
        round=plan.round,
        task=plan.task,
        version=None,
        reason=reason,
        record=None,
    )


def facts(
    *roles: Any,  # noqa: ANN401 - a role
    trainers: tuple[str, ...] = (),
    trouble: str = "",
    classes: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> AgentFacts:
    """Describe a small agent; `classes` and `columns` are the names that it announces."""
    x = {"data_types": {"numerical": {"size": [2], "columns": [*columns]}}}
    y = {"data_types": {"categorical": {"size": [1], "classes": [*classes]}}}
    return AgentFacts(
        roles=roles,
        examples=10,
        cores=1,
        memory_mb=512,
        storage_mb=512,
        gpu=False,
        frameworks={},
        models={},
        format={"x": x, "y": y} if classes or columns else {},
        trainers=trainers,
        trouble=trouble,
    )


def check_plugins(job: JobFile, *, complete: bool) -> Iterator[JobFault]:  # noqa: ARG001 - checks one plug-in after the other
    """Yield a fault for each plug-in that is neither shipped nor defined here."""
    for key, name in (("strategy", job.strategy.id), ("plugins.selector", job.plugins.selector)):
        if name not in {"fedavg", "uniform", "broken", "shy", "wild", "lost", "leaving", "lazy"}:
            kind = key.rpartition(".")[2]
            yield JobFault(key=key, problem=f"no {kind} plug-in named {name!r}")


def selector(name: str) -> Selector:
    """Return a selector by name."""
    if name == "lost":
        raise PluginError("no selectors plug-in named 'lost'")
    known: dict[str, Selector] = {
        "uniform": uniform,
        "broken": _broken,
        "shy": _shy,
        "wild": _wild,
        "leaving": _leaving,
        "lazy": _lazy,  # type: ignore[dict-item]  # a third-party selector that is wrong
    }
    return known[name]


def _broken(_agents: Sequence[AgentInfo], _want: int, _rng: Random, /) -> Sequence[str]:
    raise ZeroDivisionError("by zero")


def _leaving(_agents: Sequence[AgentInfo], _want: int, _rng: Random, /) -> Sequence[str]:
    sys.exit(4)


def _lazy(_agents: Sequence[AgentInfo], _want: int, _rng: Random, /) -> Iterator[str]:
    yield "agent.a"
    raise RuntimeError("too late")


def _shy(agents: Sequence[AgentInfo], _want: int, _rng: Random, /) -> Sequence[str]:
    return [agents[0].agent]


def _wild(agents: Sequence[AgentInfo], _want: int, _rng: Random, /) -> Sequence[str]:
    """Name agents twice, more than were wanted, and an unknown one."""
    names = [info.agent for info in agents]
    return ["agent.unknown", *names, *names]


class Harness(CoreHarness):
    """A controller and the nodes it exchanges messages with.

    Nodes that were introduced send heartbeats, unless they are in `silent`.
    """

    def __init__(self) -> None:
        core = ControllerCore(7, REPOSITORY, BEAT, selector, resolve_job, check_plugins, self.utc)
        super().__init__(core)
        self.incarnations: dict[str, int] = {}
        self.silent: set[str] = set()
        self.epoch = 0
        self.renews = True
        self.handle(Connected())

    def utc(self) -> str:
        """Return the simulated time for documents."""
        return format_timestamp(self.now)

    def lead(self, epoch: int = 1, jobs: tuple[str, ...] = ()) -> None:
        """Grant the lease and list the jobs."""
        self.epoch = epoch
        self.receive(REPOSITORY, LeaseGranted(epoch=epoch, seconds=15.0))
        assert self.asked(keys.JobListing(), ListJobs).epoch == epoch
        self.receive(REPOSITORY, JobsListed(jobs=jobs))

    def introduce(self, *nodes: str, incarnation: int = 1, online: bool = True) -> None:
        """Publish the states of nodes."""
        for node in nodes:
            role = "evaluate" if node == EVALUATOR else "train"
            self.incarnations[node] = incarnation
            self.receive(
                node,
                NodeState(
                    node=node,
                    incarnation=incarnation,
                    online=online,
                    agent=facts(role) if node.startswith("agent") and online else None,
                ),
            )

    def introduce_key(
        self, collector: str, noise_key: str | None, incarnation: int = 1, trouble: str = ""
    ) -> None:
        """Publish the state of a collector with the digest of its noise key."""
        self.incarnations[collector] = incarnation
        state = NodeState(
            node=collector,
            incarnation=incarnation,
            online=True,
            noise_key=noise_key,
            trouble=trouble,
        )
        self.receive(collector, state)

    def introduce_as(self, node: str, own: AgentFacts) -> None:
        """Publish an agent's state with facts of the test."""
        self.incarnations[node] = 1
        self.receive(node, NodeState(node=node, incarnation=1, online=True, agent=own))

    def begin(self, job: JobLoaded | None = None, *fleet: str) -> None:
        """Lead, with a fleet, and load one job."""
        self.introduce(*(fleet or (COLLECTOR, A, B, C)))
        self.lead(jobs=(JOB,))
        assert self.asked(keys.JobLoading(JOB), LoadJob).job == JOB
        self.receive(REPOSITORY, job or loaded())

    def wait(self, seconds: float) -> None:
        """Advance the time; nodes that are not silent send a heartbeat every second.

        The lease is renewed meanwhile, unless `renews` is false.
        """
        end, asked = self.now + seconds, 0
        while self.now < end:
            super().wait(min(1.0, end - self.now))
            asked = asked + 1 if keys.LeaseRequest() in self.asks else 0
            if asked >= LEASE_PATIENCE and self.renews:
                last = self.last
                self.lead(self.epoch)
                self.last, asked = last, 0
            last = self.last
            for node, incarnation in self.incarnations.items():
                if node not in self.silent:
                    beat = Heartbeat(incarnation=incarnation, load=0.5, memory_mb=1.0, progress=0.0)
                    self.receive(node, beat)
            self.last = last

    @property
    def planned(self) -> Plan:
        """The plan that the repository is asked to store."""
        return self.asked(keys.PlanStorage(JOB), StorePlan).plan

    def open_round(self) -> Plan:
        """Store the plan that is asked for."""
        plan = self.planned
        self.receive(REPOSITORY, PlanStored(job=JOB, task=plan.task))
        return plan

    def begin_round(self, job: JobLoaded | None = None, *fleet: str) -> Plan:
        """Load a job and open its first round."""
        self.begin(job, *fleet)
        return self.open_round()

    def evaluation(self, agent: str = EVALUATOR) -> EvaluateTask:
        """The task that an evaluator is asked to do."""
        return self.asked(keys.EvaluationRequest(JOB, agent), EvaluateTask)

    def submit(self, file: bytes, reply: ReplyTo | None = REPLY, **how: Any) -> None:  # noqa: ANN401
        """Submit a job file; `how` it came: `retained`, with a `receipt`."""
        self.handle(Requested(SUBMIT, {}, file, None, reply, **how))

    def cancel(
        self,
        payload: bytes = JOB.encode(),
        reply: ReplyTo | None = REPLY,
        **how: Any,  # noqa: ANN401
    ) -> None:
        """Cancel a job."""
        self.handle(Requested(CANCEL, {}, payload, None, reply, **how))

    def request(self, topic_job: str, file: bytes) -> None:
        """Retain a job file on the topic of a job; an empty file clears it."""
        self.handle(Requested(JOB_REQUEST, {"job": topic_job}, file, None, None, retained=True))

    def settled(self) -> list[int]:
        """List the receipts that the last event settled."""
        return [action.receipt for action in self.last if isinstance(action, Settle)]

    def cleared(self) -> list[str]:
        """List the jobs whose retained file the last event cleared."""
        return [
            str(action.levels["job"])
            for action in self.last
            if isinstance(action, Clear) and action.topic == JOB_REQUEST
        ]

    def forget(self, payload: bytes, reply: ReplyTo | None = REPLY) -> None:
        """Request that a job is removed from lists."""
        self.handle(Requested(FORGET, {}, payload, None, reply))

    def answer(self) -> dict[str, Any]:
        """Read the one answer the last event led to."""
        (reply,) = self.replies()
        assert reply.to == REPLY
        answer = json.loads(reply.payload)
        assert isinstance(answer, dict)
        return answer

    def state(self) -> JobState:
        """Read the job state that the last event announced last."""
        return self.sent(JobState)[-1]

    def state_now(self) -> JobState:
        """Have the job's state announced again, and read it."""
        self.tell_states()
        return self.state()

    def tell_states(self) -> None:
        """Have all job states announced again."""
        self.handle(Connected())

    def asks_of(self, *without: type[Key]) -> list[type[Key]]:
        """List the kinds of what is asked, but those in `without`."""
        kinds = {type(key) for key in self.asks} - set(without)
        return sorted(kinds, key=lambda kind: kind.__name__)


def readable(message: object) -> bool:
    """Return whether a message is the same after encoding and decoding."""
    return codec.unpack(type(message), codec.pack(message)) == message
