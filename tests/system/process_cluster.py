"""Cluster of real processes for fault tests: all services, a broker with access rules, a store.

    async with ProcessCluster(tmp_path, Plan(seed=7)) as cluster:
        await cluster.submit()
        await cluster.until("a round is committed", lambda: cluster.state().round)
        cluster.kill("collector.1")
        cluster.start("collector.1")
        await cluster.finish()

`finish` checks what must hold after each fault: the job ended in the expected phase, agents hold no
update, each process exits with code 0 on SIGTERM, no process logged an error, and the oracle finds
no wrong record. A test that fails reports the last log lines of each process.
"""

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fedbus.cluster.members import Member, broker_of
from fedbus.cluster.process import cause_of, die_with_parent_prefix
from fedbus.core import clock
from fedbus.digest import digest_of
from fedbus.errors import BusError
from fedbus.model.blob import encode
from fedbus.model.layout import Layout
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import BrokerAddress, Bus, Packet
from fedbus.mqtt.mosquitto import LocalBroker, free_port
from fedbus.mqtt.mosquitto_config import new_password
from fedbus.privacy.noise_key import NoiseKey, create_noise_key
from fedbus.simulation.control_variates import check_control_variates
from fedbus.simulation.masked_records import check_masked_records
from fedbus.simulation.oracle import check_records
from fedbus.simulation.private_records import check_private_records
from fedbus.wire import codec
from fedbus.wire.access_rules import access_rules
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ENDED_PHASES, JobState, ModelSpec, RoundState, TensorSpec
from fedbus.wire.messages import PushModel
from fedbus.wire.topic_names import wildcard
from fedbus.wire.topics import JOB_STATE, ROOT, ROUND_STATE
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.opening import database_of, open_store
from tests.quadratic_trainer import ROLES, first_weights
from tests.repository.store_history import MongoHistory, SqliteHistory
from tests.system.fork_server import ForkedProcess, fork_server
from tests.system.light_agent import read_masked, read_updates, read_variates

REPOSITORY, CONTROLLER, COLLECTOR = "repository.1", "controller.1", "collector.1"
USER, SPY = "user.test", "user.spy"
MODEL, JOB = "tiny", "job-1"
STRATEGIES: Mapping[str, Mapping[str, object]] = {
    "fedadam": {},
    "multi-krum": {},
    "scaffold": {"population": 3},
}
"""Strategies of fault tests, with what a job of three agents says about them."""
BEAT = 0.5
POLL_SECONDS = 0.05
JOB_SECONDS = 120.0
STOP_SECONDS = 8.0
TAIL = 12


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The members of a cluster, and its faults.

    Attributes:
        numbers: Float32 numbers of the model; a chunk holds 65,536.
        faults: FEDBUS_FAULT_AT of a node's first run, by node.
        slow: Bits per second of a slow link, each way, by node.
        hostile: The kind of wrong update, by name of an additional agent; see `hostile_agent.py`.
        accounts: Additional logins.
        shipped: Settings of additional `fedbus_edge_agent` processes, by node.
        architectures: Architectures of the model, by trainer.
        strategy: The id of the jobs' strategy. With it, agents train.
        private: Whether collectors have a noise key, each a file of its own with the same one.
        masked: Whether agents train, and mask their updates; all jobs are masked then.
        more: Additional settings of some nodes.
        store: URL of the MongoDB database of the repository; empty: it has a folder.
    """

    seed: int
    agents: int = 3
    evaluators: int = 0
    controllers: int = 1
    collectors: int = 1
    numbers: int = 150_000
    train_seconds: float = 0.0
    lease_seconds: float = 15.0
    faults: Mapping[str, str] = field(default_factory=dict)
    slow: Mapping[str, float] = field(default_factory=dict)
    hostile: Mapping[str, str] = field(default_factory=dict)
    inference: bool = False
    accounts: tuple[str, ...] = ()
    shipped: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    architectures: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {"light": {"name": "none"}}
    )
    strategy: str | None = None
    private: bool = False
    masked: bool = False
    more: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    store: str = ""


class NodeProcess:
    """The process of a node, over all its runs."""

    def __init__(self, member: Member, broker: str, log: Path) -> None:
        self.log = log
        self._member = member
        self._broker = broker
        self.runs: list[ForkedProcess] = []

    @property
    def exit_code(self) -> int | None:
        """Exit code of the last run, as `subprocess` returns it; None while it runs."""
        return self.runs[-1].poll() if self.runs else 0

    def start(self) -> None:
        """Start a run; a planted fault belongs to the first run only."""
        environ = self._member.environment(os.environ, self._broker, first=not self.runs)
        self.runs.append(fork_server().fork(self._member.module, environ, self.log))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self.runs:
            self.runs[-1].signal(number)

    def reap(self) -> None:
        """Kill the process, and wait for its end."""
        if self.runs:
            self.runs[-1].reap()

    def log_lines(self) -> list[str]:
        """Read the log of all runs."""
        if not self.log.exists():
            return []
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()


class ProcessCluster:
    """All services of a job, as processes.

    Attributes:
        states: The published states of each job, oldest first.
        rounds: The last published state of each round, by (job, round).
        answers: The replies to this foreign client.
        steps: What the test did, for the report of a failure.
        noise_key: The collectors' key.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self.agents = [f"agent.a{number}" for number in range(plan.agents)]
        self.evaluators = [f"agent.e{number}" for number in range(plan.evaluators)]
        self.states: dict[str, list[JobState]] = {}
        self.rounds: dict[tuple[str, int], RoundState] = {}
        self.answers: list[dict[str, Any]] = []
        self.steps: list[str] = [f"seed {plan.seed}"]
        self.noise_key = NoiseKey(hashlib.sha256(b"noise %d" % plan.seed).digest())
        members = list(self._members())
        names = [*(member.node for member in members), USER, SPY, *plan.accounts]
        self.broker = LocalBroker(
            folder / "broker",
            accounts={name: new_password() for name in names},
            rules=_rules,
            launcher=die_with_parent_prefix(),
        )
        # The broker does not listen yet, so its port still counts as free.
        free = (port for port in iter(free_port, None) if port != self.broker.port)
        self._proxy_ports = {node: next(free) for node in plan.slow}
        self._proxies: list[ForkedProcess] = []
        self.processes = {member.node: self._process(member) for member in members}
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()
        self._bus: Bus | None = None

    async def __aenter__(self) -> Self:
        seed_model(self.folder / "repository", self.plan)
        for node in self.collectors:
            self.put_key(node)
        self.broker.start()
        try:
            for node in self._proxy_ports:
                self._proxies.append(self._slow_down(node))
            for node in self.processes:
                self.start(node)
            self._tasks.append(asyncio.create_task(self._listen(), name="listen"))
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()
        if error is not None:
            error.add_note(self.failure_report())

    @property
    def collectors(self) -> list[str]:
        """The names of the collectors."""
        return [f"collector.{number}" for number in range(1, self.plan.collectors + 1)]

    def key_file(self, node: str) -> Path:
        """Return the path of a collector's noise key."""
        return self.folder / f"{node}.key"

    def put_key(self, node: str, key: NoiseKey | None = None) -> None:
        """Replace a collector's noise key; None: by that of all collectors."""
        self.key_file(node).unlink(missing_ok=True)
        create_noise_key(self.key_file(node), lambda _: (key or self.noise_key).secret)

    # ── actions on processes ────────────────────────────────────────────────────────────────────

    def start(self, node: str) -> None:
        """Start a node."""
        self.processes[node].start()

    def kill(self, node: str) -> None:
        """Kill a node with SIGKILL."""
        self.note(f"{node} killed")
        self.processes[node].reap()

    def freeze(self, node: str) -> None:
        """Stop a node with SIGSTOP."""
        self.note(f"{node} frozen")
        self.processes[node].signal(signal.SIGSTOP)

    def thaw(self, node: str) -> None:
        """Continue a stopped node."""
        self.note(f"{node} thawed")
        self.processes[node].signal(signal.SIGCONT)

    async def restart_after_fault(
        self, node: str, pause: float, seconds: float = JOB_SECONDS
    ) -> None:
        """Wait until a planted fault has killed a node; start it again after a pause in seconds."""
        process = self.processes[node]
        await self.until(f"{node} dies", lambda: process.exit_code is not None, seconds)
        assert process.exit_code == -signal.SIGKILL, f"{node} {cause_of(process.exit_code or 0)}"
        self.note(f"{node} died of {self.plan.faults.get(node)}, back in {pause:.1f} s")
        await asyncio.sleep(pause)
        await self.restart([node])

    async def restart(self, nodes: Iterable[str]) -> None:
        """Start nodes again, and wait until all are connected."""
        connections = {node: self._connections(node) for node in nodes}
        for node in connections:
            self.start(node)
        await self.until(
            f"all are connected again: {', '.join(connections)}",
            lambda: all(self._connections(n) > before for n, before in connections.items()),
        )

    def _connections(self, node: str) -> int:
        return len(self.log_entries(node, "bus_connected"))

    def note(self, what: str) -> None:
        """Record a step of the test for the report of a failure."""
        self.steps.append(f"{clock.monotonic():.2f} {what}")

    # ── actions of a user ───────────────────────────────────────────────────────────────────────

    async def submit(
        self,
        rounds: int = 3,
        job: str = JOB,
        more: Mapping[str, object] | None = None,
        **wish: object,
    ) -> None:
        """Submit a job, again until its state is published.

        `wish` updates its `round`, and `more` the whole file.
        """
        agents = len(self.agents) + len(self.plan.hostile) + len(self.plan.shipped)
        round_ = {"agents": agents, "quorum": 2, "deadline_seconds": 30, **wish}
        file: dict[str, Any] = {"training_id": job, "model_name": MODEL, "num_rounds": rounds}
        file["round"] = round_
        if self.plan.strategy is not None:
            file["strategy"] = {"id": self.plan.strategy, **STRATEGIES[self.plan.strategy]}
        file.update(more or {})
        self.note(f"{job} submitted: {rounds} rounds, {round_}")
        self._tasks.append(
            asyncio.create_task(self._publish_until_known("submit", json.dumps(file), job))
        )
        await self.until(f"{job} is published", lambda: job in self.states)

    async def cancel(self, job: str = JOB) -> None:
        """Cancel a job, again until it has ended."""
        self.note(f"{job} cancelled")
        while not self.ended(job):
            await self._publish("cancel", job.encode())
            with suppress(AssertionError):
                await self.until("it is cancelled", lambda: self.ended(job), 2.0)

    async def publish_once(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1, as a client that then disconnects; return when acknowledged."""
        self.note(f"published once to {topic}")
        await self.until("the broker is there", lambda: self._bus is not None)
        assert self._bus is not None
        assert await self._bus.deliver(Packet(f"{ROOT}/{topic}", payload, retain=retain)) or retain

    async def _publish_until_known(self, topic: str, text: str, job: str) -> None:
        while job not in self.states:
            await self._publish(topic, text.encode())
            with suppress(AssertionError):
                await self.until("it is published", lambda: job in self.states, 2.0)

    async def _publish(self, topic: str, payload: bytes) -> None:
        if self._bus is not None:
            with suppress(BusError):
                to = f"{ROOT}/replies/test"
                await self._bus.publish(Packet(f"{ROOT}/{topic}", payload, response_topic=to))

    def state(self, job: str = JOB) -> JobState:
        """Return the last published state of a job."""
        return self.states[job][-1]

    def ended(self, job: str = JOB) -> bool:
        """Return whether the last published phase of a job is final."""
        return bool(self.states.get(job)) and self.state(job).phase in ENDED_PHASES

    def held_updates(self) -> list[str]:
        """List the update files that honest agents hold."""
        folders = [self.folder / "agents" / agent for agent in self.agents]
        return [f"{f.name}/{path.name}" for f in folders for path in sorted(f.glob("*.update"))]

    def updates_made(self, job: str = JOB) -> dict[tuple[str, int], bytes]:
        """Read each update that was made for a job, by (agent, task)."""
        return read_updates(self.folder / "agents", job)

    def log_entries(self, node: str, event: str) -> list[dict[str, Any]]:
        """Return the log entries of a node with one event name, over all its runs."""
        mark = f'"event": "{event}"'
        return [json.loads(line) for line in self.processes[node].log_lines() if mark in line]

    def traffic(self, node: str, what: str) -> int:
        """Return a counter of a node's last run, logged at its stop, such as `sent_bytes`."""
        return int(self.log_entries(node, "service_stopped")[-1][what])

    async def until(
        self, what: str, holds: Callable[[], object], seconds: float = JOB_SECONDS
    ) -> None:
        """Wait until a condition holds.

        Raises:
            AssertionError: It did not hold within these seconds.
        """
        by = clock.monotonic() + seconds
        while not holds():
            assert clock.monotonic() < by, f"not within {seconds:g} s: {what}"
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._news.wait()

    # ── checks at the end ───────────────────────────────────────────────────────────────────────

    async def finish(
        self,
        rounds: int = 3,
        *,
        job: str = JOB,
        phase: str = "finished",
        allowed: tuple[str, ...] = (),
    ) -> None:
        """Wait for the end of a job, stop all processes, and check what must hold.

        `allowed` are parts of log lines that this fault may cause.
        """
        await self.until(f"{job} is over", lambda: self.ended(job))
        state = self.state(job)
        assert state.phase == phase, f"{state.phase}: {state.reason}"
        await self.until("no update is held any more", lambda: not self.held_updates(), 45.0)
        await self.stop_all()
        unexpected = [
            line for line in self.unexpected_lines() if not any(a in line for a in allowed)
        ]
        assert unexpected == [], "\n".join(unexpected)
        last = replace(self.state(job), at=state.at)  # it may be published again, at another time
        assert last == state, f"the final state of a job changed: {last}"
        made = self.check(job)
        assert made == state.round, f"{made} rounds were committed, {state.round} announced"
        assert made == rounds or phase != "finished", f"{made} rounds, {rounds} were wanted"

    async def stop_all(self) -> None:
        """Send SIGTERM to all running processes; check that each exits with code 0 in time."""
        living = {n: one for n, one in self.processes.items() if one.exit_code is None}
        for process in living.values():
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGTERM)
        await self.until(
            "all end when told to",
            lambda: all(one.exit_code is not None for one in living.values()),
            STOP_SECONDS,
        )
        codes = {node: one.exit_code for node, one in living.items()}
        assert set(codes.values()) <= {0}, str(codes)

    def history(self) -> SqliteHistory | MongoHistory:
        """Open the records of the repository, which may be running."""
        if self.plan.store:
            return MongoHistory(MongoSettings(self.plan.store))
        return SqliteHistory(self.folder / "repository")

    def check(self, job: str = JOB) -> int:
        """Check the records with the oracle; return the number of committed rounds of a job."""
        history = self.history()
        try:
            updates = self.updates_made(job)
            if self.plan.private:
                checked = check_private_records(history, updates, self.noise_key, job=job)
            elif self.plan.masked:
                masked = read_masked(self.folder / "agents", job)
                checked = check_masked_records(history, masked, job=job)
            else:
                checked = check_records(history, updates, job=job)
            if self.plan.strategy == "scaffold":
                own = read_variates(self.folder / "agents", job)
                assert check_control_variates(history, job, updates, own)
            records = [each.record for each in history.history() if each.record is not None]
        finally:
            history.close()
        rounds = sum(record.job == job for record in records)
        assert checked.summed == rounds, f"{checked.summed} of {rounds} rounds were summed again"
        return rounds

    def unexpected_lines(self) -> Iterator[str]:
        """Yield log lines that no fault may cause: errors, tracebacks, misread messages."""
        for node, process in self.processes.items():
            for line in process.log_lines():
                try:
                    said = json.loads(line)
                except ValueError:
                    yield f"{node}: {line}"
                    continue
                if said.get("level") == "error" or said.get("event") == "message_misread":
                    yield f"{node}: {line}"

    def failure_report(self) -> str:
        """Report the steps of the test, the published states, and the last log lines."""
        parts = ["steps:", *self.steps, "published states:"]
        parts += [str(state) for states in self.states.values() for state in states[-3:]]
        parts += [f"held: {self.held_updates()}"]
        for node, process in self.processes.items():
            parts += [f"── {node}: {len(process.runs)} runs", *process.log_lines()[-TAIL:]]
        return "\n".join(parts)

    # ── internals ───────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def subscribed(self, *topics: str) -> AsyncIterator[Bus]:
        """Subscribe to topics under the root, with the account that may read all of them."""
        listen = [f"{ROOT}/{topic}" for topic in topics]
        async with mqtt.connect(self.broker.address(SPY), name=SPY, listen=listen) as bus:
            yield bus

    async def _listen(self) -> None:
        topics = [wildcard(ROOT, JOB_STATE), wildcard(ROOT, ROUND_STATE), f"{ROOT}/replies/#"]
        while True:
            with suppress(BusError):
                address = self.broker.address(USER)
                async with mqtt.connect(address, name=USER, listen=topics) as bus:
                    self._bus = bus
                    async for packet in bus:
                        self._heard(packet)
                        self._news.set()
            self._bus = None
            await asyncio.sleep(POLL_SECONDS)

    def _heard(self, packet: Packet) -> None:
        if not packet.payload:
            return
        if "/replies/" in packet.topic:
            self.answers.append(json.loads(packet.payload))
        elif packet.topic.endswith("/state"):
            state = codec.from_json(JobState, packet.payload)
            self.states.setdefault(state.job, []).append(state)
        else:
            round_ = codec.from_json(RoundState, packet.payload)
            self.rounds[round_.job, round_.round] = round_

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in self.processes.values():
            process.reap()
        for proxy in self._proxies:
            proxy.reap()
        self.broker.kill()

    def _members(self) -> Iterator[Member]:
        plan = self.plan
        data, lease = str(self.folder / "repository"), str(plan.lease_seconds)
        store = {"store": plan.store} if plan.store else {}
        yield self._member(REPOSITORY, "fedbus_repository", data=data, lease_seconds=lease, **store)
        for number in range(1, plan.controllers + 1):
            yield self._member(f"controller.{number}", "fedbus_controller")
        for node in self.collectors:
            own = {"noise_key": str(self.key_file(node))} if plan.private else {}
            yield self._member(node, "fedbus_collector", **own)
        if plan.inference:
            yield self._member("inference.1", "fedbus_inference")
        home = str(self.folder / "agents")
        for number, agent in enumerate([*self.agents, *self.evaluators]):
            yield self._member(
                agent,
                "tests.system.light_agent",
                home=home,
                role="evaluate" if agent in self.evaluators else "train",
                examples=str(10 + number),
                train_seconds=str(plan.train_seconds),
                trains=str(plan.strategy is not None or plan.masked),
                masks=str(plan.masked),
            )
        for agent, wrong in plan.hostile.items():
            yield self._member(agent, "tests.system.hostile_agent", home=home, wrong=wrong)
        for agent, settings in plan.shipped.items():
            yield self._member(agent, "fedbus_edge_agent", home=home, **settings)

    def _member(self, node: str, module: str, **settings: str) -> Member:
        fault = self.plan.faults.get(node)
        return Member(
            node=node,
            module=module,
            settings={
                "name": node.partition(".")[2],
                "heartbeat_seconds": str(BEAT),
                "log": "json",
                **settings,
                **self.plan.more.get(node, {}),
            },
            first_start={} if fault is None else {"FEDBUS_FAULT_AT": fault},
        )

    def _slow_down(self, node: str) -> ForkedProcess:
        to, bits = f"{self.broker.host}:{self.broker.port}", str(self.plan.slow[node])
        arguments = ["--listen", str(self._proxy_ports[node]), "--to", to, "--bits", bits]
        log = self.folder / f"proxy of {node}.log"
        return fork_server().fork("benchmarks.proxy", dict(os.environ), log, arguments)

    def _process(self, member: Member) -> NodeProcess:
        port = self._proxy_ports.get(member.node, self.broker.port)
        where = BrokerAddress(self.broker.host, port)
        address = broker_of(member, self.broker.accounts, where)
        return NodeProcess(member, address, self.folder / f"{member.node}.log")


def _rules(user: str) -> Iterator[tuple[str, str]]:
    """Yield the access rules of the topic table, and for the spy the right to read all topics."""
    if user == SPY:
        yield "read", f"{ROOT}/#"
    else:
        yield from access_rules(user)


def seed_model(folder: Path, plan: Plan) -> None:
    """Store a first model version for a repository that is not started yet.

    If agents train, it has tensors that are not trained as well.
    """
    names = ("b", "w") if plan.strategy is None else ("b", "seen", "spread", "w")
    weights = {name: array for name, array in first_weights(plan.numbers).items() if name in names}
    layout = Layout.of(weights, ROLES)
    specs = tuple(
        TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype, role=t.role) for t in layout.tensors
    )
    plain = {name: dict(architecture) for name, architecture in plan.architectures.items()}
    spec = ModelSpec(model=MODEL, layout=specs, architectures=plain)
    store = open_store(folder, database_of(plan.store))
    blob_refs = [_kept(store, blob) for blob in (codec.to_json(spec), encode(weights, layout))]
    store.push(PushModel(model=MODEL, spec=blob_refs[0], weights=blob_refs[1]), ())
    store.close()


def _kept(store: Store, content: bytes | bytearray) -> BlobRef:
    blob_ref = BlobRef(digest=digest_of(content), size=len(content))
    upload = store.upload(blob_ref)
    upload.write(0, memoryview(content))
    upload.keep()
    return blob_ref
