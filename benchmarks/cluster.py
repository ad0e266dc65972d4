"""Cluster for benchmarks: a broker with access rules, and services as processes.

Measurements come from the services' logs (their times share the machine's clock), from /proc, and
from the broker's `$SYS` topics.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from benchmarks.measure import cpu_seconds, peak_mb
from fedbus.blobs.spool import Spool, Spools
from fedbus.core import clock
from fedbus.core.actions import Action, Ask, Cancel, Serve
from fedbus.core.events import Connected, Event, Received
from fedbus.core.keys import Key
from fedbus.model.blob_header import header_bytes
from fedbus.model.layout import Layout, Tensor
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import BrokerAddress, Bus, Packet
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus.mqtt.mosquitto_config import new_password
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.reconnection import keep_connected
from fedbus.runtime.shell import Shell
from fedbus.wire import codec
from fedbus.wire.access_rules import access_rules
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ENDED_PHASES, AgentFacts, JobState, ModelSpec, TensorSpec
from fedbus.wire.messages import ModelPushed, PushModel, RequestRefused
from fedbus.wire.topic_names import address, wildcard
from fedbus.wire.topics import JOB_STATE, ROOT, SUBMIT, Topic

REPOSITORY, COLLECTOR, CONTROLLER = "repository.1", "collector.1", "controller.1"
USER, WATCHER = "user.bench", "user.watch"
SYS_SENT = "$SYS/broker/bytes/sent"
MODEL = "bench"
START_SECONDS = 90.0
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class PushRequest(Key):
    """Key of the request to store a model."""


@dataclass
class Running:
    """A process of the cluster, and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def notes(self, event: str) -> list[dict[str, Any]]:
        """Return its log entries with one event name."""
        mark = f'"event": "{event}"'
        with self.log.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if mark in line]

    def traffic(self) -> dict[str, int]:
        """Return the bytes it sent and received, after its end."""
        total = dict.fromkeys(("sent", "sent_bytes", "received", "received_bytes"), 0)
        for note in self.notes("service_stopped"):
            for name in total:
                total[name] += note[name]
        return total


@dataclass
class Cluster:
    """All services of a job; `with Cluster(…) as cluster` starts and ends them."""

    agents: Sequence[str]
    per_process: int = 1
    behind: Mapping[str, int] = field(default_factory=dict)
    """The proxy's port for each agent that does not connect to the broker directly."""
    settings: Mapping[str, str] = field(default_factory=dict)
    home: Path = field(init=False)
    broker: LocalBroker = field(init=False)
    running: dict[str, Running] = field(init=False, default_factory=dict)
    _exit: ExitStack = field(init=False, default_factory=ExitStack)

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave nothing running
        with ExitStack() as stack:
            self.home = Path(stack.enter_context(TemporaryDirectory(prefix="fedbus-bench-")))
            nodes = (REPOSITORY, COLLECTOR, CONTROLLER, USER, WATCHER, *self.agents)
            accounts = {node: new_password() for node in nodes}
            (self.home / "broker").mkdir()
            self.broker = stack.enter_context(
                LocalBroker(self.home / "broker", accounts=accounts, rules=_rules, sys_interval=1)
            )
            stack.callback(self._end_all)
            for node, module in (
                (REPOSITORY, "fedbus_repository"),
                (COLLECTOR, "fedbus_collector"),
                (CONTROLLER, "fedbus_controller"),
            ):
                self._start(node, [module], self.broker.address(node))
            self._start_agents()
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.__exit__(kind, error, trace)

    def peaks(self) -> dict[str, float]:
        """Return the peak memory of each process in MB; of agents the largest."""
        assert self.broker.pid is not None
        found = {name: peak_mb(one.process.pid) for name, one in self.running.items()}
        agents = [found.pop(name) for name in list(found) if name.startswith("agents")]
        return {**found, "agents": max(agents, default=0.0), "broker": peak_mb(self.broker.pid)}

    def cpu(self) -> dict[str, float]:
        """Return the processor time of each process in seconds; of agents the sum."""
        assert self.broker.pid is not None
        found = {name: cpu_seconds(one.process.pid) for name, one in self.running.items()}
        agents = [found.pop(name) for name in list(found) if name.startswith("agents")]
        return {**found, "agents": sum(agents), "broker": cpu_seconds(self.broker.pid)}

    def end(self, name: str) -> Running:
        """End one service with SIGTERM, so that it logs its totals."""
        one = self.running[name]
        one.process.terminate()
        try:
            one.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
        return one

    def complaints(self) -> str:
        """Return the last lines of each log, for an error message."""
        return "\n".join(
            f"── {name}\n" + "\n".join(one.log.read_text(encoding="utf-8").splitlines()[-8:])
            for name, one in self.running.items()
        )

    def _start_agents(self) -> None:
        passwords = self.home / "passwords.json"
        passwords.write_text(json.dumps({n: self.broker.accounts[n] for n in self.agents}))
        groups = [[name] for name in self.behind]
        rest = [name for name in self.agents if name not in self.behind]
        groups += [rest[i : i + self.per_process] for i in range(0, len(rest), self.per_process)]
        for number, names in enumerate(groups):
            port = self.behind.get(names[0], self.broker.port)
            arguments = ["benchmarks.light_agents", "--names", *names]
            arguments += ["--passwords", str(passwords), "--home", str(self.home)]
            self._start(f"agents.{number}", arguments, BrokerAddress("127.0.0.1", port))

    def _start(self, name: str, module: Sequence[str], broker: BrokerAddress) -> None:
        log = self.home / f"{name}.log"
        environ = {
            **os.environ,
            "FEDBUS_BROKER": broker.url,
            "FEDBUS_LOG": "json",
            "FEDBUS_NAME": name.partition(".")[2],
            "FEDBUS_DATA": str(self.home / name),
            **self.settings,
        }
        with log.open("wb") as words:
            process = subprocess.Popen(
                [sys.executable, "-m", *module], env=environ, stdout=words, stderr=words
            )
        self.running[name] = Running(name, process, log)

    def _end_all(self) -> None:
        for one in self.running.values():
            if one.process.poll() is None:
                one.process.terminate()
        for name in self.running:
            self.end(name)


def _rules(user: str) -> Iterator[tuple[str, str]]:
    """Yield the access rules of the topic table, and for the watcher `$SYS`."""
    yield from access_rules(user)
    if user == WATCHER:
        yield "read", "$SYS/#"


# ── a first version of a model ────────────────────────────────────────────────────────────────────


class Pusher:
    """A core that pushes a model of zeros to the repository."""

    listens: tuple[Topic, ...] = ()

    def __init__(self, spec: Spool, weights: Spool) -> None:
        self.pushed = asyncio.Event()
        self._blobs = (spec, weights)
        blob_refs = [BlobRef(digest=blob.digest(), size=blob.size) for blob in self._blobs]
        self._push = PushModel(model=MODEL, spec=blob_refs[0], weights=blob_refs[1])

    def facts(self) -> AgentFacts | None:
        """Return None: it is no agent."""
        return None

    def progress(self) -> float:
        """Return 0: it has no task."""
        return 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:  # noqa: ARG002 - see Core
        """Push the model until it is stored."""
        match event:
            case Connected():
                for blob_ref, blob in zip(
                    (self._push.spec, self._push.weights), self._blobs, strict=True
                ):
                    yield Serve(blob_ref.digest, blob)
                yield Ask(PushRequest(), REPOSITORY, self._push)
            case Received(_, ModelPushed()):
                yield Cancel(PushRequest())
                self.pushed.set()
            case Received(_, RequestRefused(reason=reason)):
                sys.exit(f"the repository refused the benchmark's model: {reason}")


def blobs(parameters: int, place: Path) -> tuple[Spool, Spool]:
    """Write a model's spec and its weights, all zeros, into unlinked files."""
    tensor_spec = TensorSpec(name="w", shape=(parameters,), dtype="float32")
    layout = Layout((Tensor("w", (parameters,), "float32"),))
    spec = codec.to_json(ModelSpec(model=MODEL, layout=(tensor_spec,), architectures={}))
    spools = Spools(limit=0, place=place)
    head = header_bytes(layout, "plain")
    spec_spool, weights = spools.make(len(spec)), spools.make(len(head) + layout.size)
    spec_spool.write(0, spec)
    weights.write(0, head)
    return spec_spool, weights


async def push(cluster: Cluster, parameters: int) -> int:
    """Store the model of zeros; return its size in bytes."""
    spec, weights = blobs(parameters, cluster.home)
    pusher, chance = Pusher(spec, weights), random.Random()
    identity = Identity(name=USER, incarnation=clock.incarnation())
    shell = Shell(Node(identity, pusher, chance), threads=1)
    pushing = asyncio.create_task(
        keep_connected(shell, cluster.broker.address(USER), chance), name="push"
    )
    try:
        async with asyncio.timeout(START_SECONDS + weights.size / 1e7):
            await pusher.pushed.wait()
    except TimeoutError:
        sys.exit(f"the model was not stored in time; the services said:\n{cluster.complaints()}")
    finally:
        pushing.cancel()
        shell.close()
    return weights.size


# ── a job ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Wish:
    """The options of a job."""

    job: str
    rounds: int
    agents: int
    quorum: int
    deadline_seconds: float = 120.0
    more: Mapping[str, Any] = field(default_factory=dict)

    def file(self) -> bytes:
        """Return the job file."""
        wanted = {
            "agents": self.agents,
            "quorum": self.quorum,
            "deadline_seconds": self.deadline_seconds,
        }
        job = {
            "training_id": self.job,
            "model_name": MODEL,
            "num_rounds": self.rounds,
            "round": wanted,
            **self.more,
        }
        return json.dumps(job).encode()


async def run(cluster: Cluster, wish: Wish, patience: float) -> int:
    """Run a job to its end; return the bytes that the broker has sent by then."""
    try:
        async with asyncio.timeout(patience):
            return await _run(cluster, wish)
    except TimeoutError:
        sys.exit(f"{wish.job} did not end in time; the services said:\n{cluster.complaints()}")


async def _run(cluster: Cluster, wish: Wish) -> int:
    watching = [wildcard(ROOT, JOB_STATE), SYS_SENT]
    broker = cluster.broker.address(WATCHER)
    sent: list[int] = []
    ended = False
    async with mqtt.connect(broker, name=WATCHER, listen=watching) as bus:
        async for packets in bus.batches():
            for packet in packets:
                if packet.topic == SYS_SENT:
                    sent.append(int(packet.payload))
                    if len(sent) == 1:
                        await _submit(bus, wish.file())
                elif f"jobs/{wish.job}/" in packet.topic:
                    state = codec.from_json(JobState, packet.payload)
                    if state.phase in {"failed", "cancelled"}:
                        sys.exit(f"{wish.job} {state.phase}: {state.reason}")
                    if state.phase in ENDED_PHASES and not ended:
                        ended = True
                        sent.clear()
            if ended and len(sent) > 1:  # a count taken after the end
                return sent[-1]
    raise AssertionError


async def _submit(bus: Bus, file: bytes) -> None:
    """Publish a job file until the broker has a session of a controller that receives it."""
    while not await bus.deliver(Packet(address(ROOT, SUBMIT), file)):  # noqa: ASYNC110 - asks the broker
        await asyncio.sleep(0.5)


@dataclass(frozen=True)
class Rounds:
    """Seconds from each round's opening to its aggregate and commit, without the first rounds."""

    planned: list[float]
    """Seconds from the planning to the opening, in which the plan is stored."""
    aggregate: list[float]
    commit: list[float]
    quorum: list[float]


def rounds(cluster: Cluster, job: str, skip: int = 1) -> Rounds:
    """Read the times of a job's rounds from the logs, without the first rounds."""

    def times(name: str, event: str) -> dict[int, float]:
        noted = cluster.running[name].notes(event)
        return {note["round"]: note["at"] for note in noted if note["job"] == job}

    decided = times(CONTROLLER, "round_decided")
    opened = times(CONTROLLER, "round_planned")
    ends = {
        event: times(COLLECTOR, event)
        for event in ("round_aggregated", "round_committed", "quorum_reached")
    }

    def since(start: dict[int, float], end: dict[int, float]) -> list[float]:
        return [
            end[number] - start[number]
            for number in sorted(end)
            if number > skip and number in start
        ]

    return Rounds(
        since(decided, opened),
        since(opened, ends["round_aggregated"]),
        since(opened, ends["round_committed"]),
        since(opened, ends["quorum_reached"]),
    )
