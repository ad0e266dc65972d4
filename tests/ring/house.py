"""All five services in one ring, with light agents, on real stores."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np

from fedbus.bus.base import Packet
from fedbus.digests import digest_of
from fedbus.testing import births
from fedbus.testing.births import COLLECTOR, CONTROLLER, REPOSITORY, Role
from fedbus.testing.faults import NONE, Faults
from fedbus.testing.ring import Birth, Ring
from fedbus.weights import Blob, Layout, encode
from fedbus.wire import codec, topics
from fedbus.wire.messages import TrainTask
from fedbus.wire.moments import moment_of
from fedbus.wire.states import ENDED, JobState, ModelCard, TensorSpec
from fedbus.wire.values import Manifest
from fedbus_edge_agent.light import LightBench
from fedbus_edge_agent.outbox import Outbox
from fedbus_repository.sqlite import SqliteStore

USER = "user.test"
MODEL = "tiny"
BEAT = 1.0


class House:
    """A ring with a repository, a controller, a collector, trainers and an evaluator.

    Attributes:
        ring: Where they live.
        updates: Every update that an agent ever made, by (agent, task).
        states: What the controller announced of each job, oldest first.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 0,
        agents: int = 4,
        evaluators: int = 1,
        controllers: int = 1,
        numbers: int = 600,
        faults: Faults = NONE,
    ) -> None:
        self.folder = folder
        self.ring = Ring(seed=seed, faults=faults, heartbeat_seconds=BEAT)
        self.updates: dict[tuple[str, int], bytes] = {}
        self.states: dict[str, list[JobState]] = {}
        self.answers: list[dict[str, object]] = []
        self.agents = [f"agent.a{i}" for i in range(agents)]
        self._seed_model(numbers)
        followed = [f"{topics.ROOT}/jobs/+/state", f"{topics.ROOT}/replies/#"]
        self.ring.listen(USER, followed, self._heard)
        secret = hashlib.sha256(b"%d" % seed).digest()
        ring = self.ring

        def utc() -> str:
            return moment_of(ring.now)

        self.ring.add(REPOSITORY, births.repository(folder / "repository", lambda: secret, utc))
        self.ring.add(CONTROLLER, births.controller(BEAT, utc))
        for number in range(2, controllers + 1):
            self.ring.add(f"controller.{number}", births.controller(BEAT, utc))
        self.ring.add(COLLECTOR, births.collector())
        for number, name in enumerate(self.agents):
            self.ring.add(name, self._agent(number, "train"))
        for number in range(evaluators):
            self.ring.add(f"agent.e{number}", self._agent(number, "evaluate"))

    # ── what a test does ───────────────────────────────────────────────────────────────────────

    def submit(
        self,
        job: str = "job-1",
        *,
        rounds: int = 3,
        wish: Mapping[str, object] | None = None,
        again: bool = True,
        **more: object,
    ) -> bytes:
        """Submit a job, as a foreign client does, until it is heard of; `wish` is its `round`."""
        round_ = {"agents": len(self.agents), "quorum": 2, "deadline_seconds": 30, **(wish or {})}
        job_file = {"training_id": job, "model_name": MODEL, "num_rounds": rounds, "round": round_}
        file = json.dumps({**job_file, **more}).encode()
        self._send(file, job, again=again)
        return file

    def _send(self, file: bytes, job: str, *, again: bool) -> None:
        if job not in self.states:
            packet = Packet(
                f"{topics.ROOT}/submit", file, response_topic=f"{topics.ROOT}/replies/test"
            )
            self.ring.publish(USER, packet)
            if again:
                self.ring.at(self.ring.now + 2.0, lambda: self._send(file, job, again=True))

    def cancel(self, job: str) -> None:
        """Cancel a job."""
        self.ring.publish(USER, Packet(f"{topics.ROOT}/cancel", job.encode()))

    def ended(self, job: str = "job-1") -> bool:
        """Say whether the controller announced a last phase."""
        return bool(self.states.get(job)) and self.states[job][-1].phase in ENDED

    def run(self, job: str = "job-1", seconds: float = 900.0) -> JobState:
        """Go on until a job has ended; return how."""
        self.ring.run(lambda: self.ended(job), seconds)
        return self.states[job][-1]

    @contextmanager
    def store(self) -> Iterator[SqliteStore]:
        """Open what the repository holds, once it has let go of it."""
        self.ring.kill(REPOSITORY)
        store = SqliteStore(self.folder / "repository", durable=False)
        try:
            yield store
        finally:
            store.close()

    def close(self) -> None:
        """End every life that is left."""
        for name in list(self.ring.hosts):
            self.ring.kill(name)

    def _agent(self, number: int, role: Role) -> Birth:
        examples = 10 + number

        def bench(name: str, outbox: Outbox) -> LightBench:
            def remember(task: TrainTask, update: Blob) -> None:
                assert self.updates.setdefault((name, task.task), bytes(update)) == update

            return LightBench(outbox, examples, remember)

        return births.agent(self.folder, bench, role, examples)

    def _heard(self, packet: Packet) -> None:
        if packet.topic.endswith("/state") and packet.payload:
            state = codec.from_json(JobState, packet.payload)
            self.states.setdefault(state.job, []).append(state)
        elif "/replies/" in packet.topic:
            self.answers.append(json.loads(packet.payload))

    def _seed_model(self, numbers: int) -> None:
        weights = {"w": np.linspace(-1, 1, numbers, dtype=np.float32), "b": np.ones(3, np.float32)}
        layout = Layout.of(weights)
        card = codec.to_json(
            ModelCard(
                model=MODEL,
                layout=tuple(
                    TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype) for t in layout.tensors
                ),
                structures={"light": {"name": "none"}},
            )
        )
        blob = bytes(encode(weights, layout))
        store = SqliteStore(self.folder / "repository", durable=False)
        manifests = [_kept(store, content) for content in (card, blob)]
        store.push(MODEL, manifests[0], manifests[1], ())
        store.close()


def _kept(store: SqliteStore, content: bytes) -> Manifest:
    manifest = Manifest(digest=digest_of(content), size=len(content))
    upload = store.upload(manifest)
    upload.write(0, content)
    upload.keep()
    return manifest


def chance_of(seed: int) -> Random:
    """Make the chance by which a test draws its own faults, apart from the ring's."""
    return Random(f"faults of {seed}")
