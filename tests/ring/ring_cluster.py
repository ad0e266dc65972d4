"""Cluster on the ring: all services in one process, with simulated trainers and real stores."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.simulated_trainer import SimulatedTrainer
from fedbus.cluster.members import NOISE_KEY
from fedbus.data import Dataset
from fedbus.datasource.source import InMemorySource
from fedbus.digest import digest_of
from fedbus.encryption.key_files import SecretKey
from fedbus.model.blob import encode
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout, Weights
from fedbus.mqtt.bus import Packet
from fedbus.privacy.noise_key import create_noise_key
from fedbus.privacy.secret_noise import EphemeralNoise
from fedbus.simulation import services
from fedbus.simulation.host import ServiceFactory
from fedbus.simulation.network_faults import NO_FAULTS, NetworkFaults
from fedbus.simulation.ring import Ring
from fedbus.simulation.services import COLLECTOR, CONTROLLER, REPOSITORY, Role
from fedbus.training.params import TrainingParams, Update
from fedbus.wire import codec, topics
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ENDED_PHASES, JobState, ModelSpec, TensorSpec
from fedbus.wire.messages import PushModel, TrainTask
from fedbus.wire.timestamps import format_timestamp
from fedbus_edge_agent.masking.masked_tasks import MaskedTasks
from fedbus_edge_agent.masking.own_identity import OwnIdentity
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.task_runner import TaskRunner
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.quadratic_trainer import ROLES, QuadraticTrainer, first_weights, rows_of
from tests.recorded_masking import RecordedJournals, RecordedTrainer
from tests.recorded_outbox import AgentRecords, RecordedOutbox, SealedOutbox
from tests.sample_encryption import sample_key

USER = "user.test"
MODEL = "tiny"
BEAT = 1.0


class RingCluster:
    """A ring with a repository, a controller, a collector, trainers and an evaluator.

    With `trains`, agents have `QuadraticTrainer` and the agent's half of a strategy, in place of
    drawn updates. `private` ones train a model whose tensors all get noise, and draw their own
    noise from the seed: only here, and from nothing that a service could be told. `masked` ones
    also draw keys and masks from it. `encrypted` ones have `key`, by default the sample
    one, and train that model.

    Attributes:
        ring: The simulated network with its hosts.
        updates: Each update of the newest job that an agent made, by (agent, task).
        records: What agents made and kept, if they train.
        states: The published states of each job, oldest first.
        answers: The replies to the user.
        noise_key: The file of the collectors' noise key.
        sealed: Each encrypted update that an agent made, by its digest: a task that is trained
            again has other bytes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 0,
        agents: int = 4,
        evaluators: int = 1,
        controllers: int = 1,
        collectors: int = 1,
        numbers: int = 600,
        faults: NetworkFaults = NO_FAULTS,
        trains: bool = False,
        private: bool = False,
        masked: bool = False,
        encrypted: bool = False,
        key: SecretKey | None = None,
    ) -> None:
        self.folder = folder
        self.ring = Ring(seed=seed, faults=faults, heartbeat_seconds=BEAT)
        self.updates: dict[tuple[str, int], bytes] = {}
        self.records = AgentRecords()
        self._trains = trains or private or masked or encrypted
        self._private = private or masked or encrypted
        self._masked = masked
        self._noises = self._starts = 0
        self._key = (key or sample_key()) if encrypted else None
        public = None if self._key is None else self._key.public
        self.sealed: dict[str, bytes] = {}
        self._made: dict[tuple[str, str, int], bytes] = {}
        self.states: dict[str, list[JobState]] = {}
        self.answers: list[dict[str, object]] = []
        self.agents = [f"agent.a{i}" for i in range(agents)]
        self._seed_model(numbers)
        followed = [f"{topics.ROOT}/jobs/+/state", f"{topics.ROOT}/replies/#"]
        self.ring.listen(USER, followed, self._heard)
        secret = hashlib.sha256(b"%d" % seed).digest()
        ring = self.ring

        def utc() -> str:
            return format_timestamp(ring.now)

        self.ring.add(
            REPOSITORY,
            services.repository(
                folder / "repository",
                lambda: secret,
                utc,
                lambda step: ring.on_step(REPOSITORY, f"store:{step}"),
            ),
        )
        self.ring.add(CONTROLLER, services.controller(BEAT, utc, public))
        for number in range(2, controllers + 1):
            self.ring.add(f"controller.{number}", services.controller(BEAT, utc, public))
        self.noise_key = folder / NOISE_KEY
        create_noise_key(self.noise_key, lambda _: hashlib.sha256(b"noise %d" % seed).digest())
        collector = services.collector(noise_key=self.noise_key, encryption_key=public)
        self.ring.add(COLLECTOR, collector)
        for number in range(2, collectors + 1):
            self.ring.add(f"collector.{number}", collector)
        for number, name in enumerate(self.agents):
            self.ring.add(name, self._agent(number, "train"))
        for number in range(evaluators):
            self.ring.add(f"agent.e{number}", self._agent(number, "evaluate"))

    # ── actions of a test ──────────────────────────────────────────────────────────────────────

    def submit(
        self,
        job: str = "job-1",
        *,
        rounds: int = 3,
        wish: Mapping[str, object] | None = None,
        again: bool = True,
        **more: object,
    ) -> bytes:
        """Submit a job, again until its state is published; `wish` updates its `round`."""
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
        """Return whether the last published phase of a job is final."""
        return bool(self.states.get(job)) and self.states[job][-1].phase in ENDED_PHASES

    def run(self, job: str = "job-1", seconds: float = 900.0) -> JobState:
        """Run until a job has ended; return its last state."""
        self.ring.run(lambda: self.ended(job), seconds)
        return self.states[job][-1]

    @contextmanager
    def store(self) -> Iterator[SqliteStore]:
        """Kill the repository, and open its store."""
        self.ring.kill(REPOSITORY)
        store = SqliteStore(self.folder / "repository", durable=False)
        try:
            yield store
        finally:
            store.close()

    def close(self) -> None:
        """Kill all hosts."""
        for name in list(self.ring.hosts):
            self.ring.kill(name)

    def _agent(self, number: int, role: Role) -> ServiceFactory:
        if self._trains:
            return self._training_agent(number, role)
        examples = 10 + number

        def runner(name: str, outbox: Outbox) -> SimulatedTrainer:
            def remember(task: TrainTask, update: Blob) -> None:
                made = self._made.setdefault((name, task.job, task.task), bytes(update))
                assert made == update
                self.updates[name, task.task] = made

            return SimulatedTrainer(outbox, examples, remember)

        return services.agent(self.folder, runner, role, examples)

    def _training_agent(self, number: int, role: Role) -> ServiceFactory:
        source = InMemorySource(rows_of(number, 10 + number))
        form = source.now.form.plain()

        def runner(name: str, outbox: Outbox) -> TaskRunner:
            factories = {"light": lambda given: RecordingTrainer(given, self.records)}
            trainer = RecordedTrainer(
                outbox, source, None, factories, noise=self._noise, encryption_key=self._key
            )
            trainer.record(name, self.records)
            return trainer

        def outbox_in(folder: Path) -> Outbox:
            agent = folder.name

            def on_step(name: str) -> None:
                self.ring.on_step(agent, name)

            if self._key is not None:
                return SealedOutbox(folder, self.sealed, on_step)
            return RecordedOutbox(folder, agent, self.records, on_step)

        masked_in = self._masked_in if self._masked else None
        more = outbox_in, masked_in, self._key
        return services.agent(self.folder, runner, role, 10 + number, form, *more)

    def _masked_in(self, name: str, outbox: Outbox) -> MaskedTasks:
        self._starts += 1
        random_bytes = Random(f"{self.ring.seed}, masks of start {self._starts}").randbytes
        own = OwnIdentity.keep(name, outbox.folder, random_bytes)
        journals = RecordedJournals(
            outbox.folder / "masking",
            durable=False,
            on_step=lambda step: self.ring.on_step(name, step),
        )
        return MaskedTasks(own, journals, outbox, None, random_bytes)

    def _noise(self) -> EphemeralNoise:
        """Return the noise of one task: other numbers for each task, and for each attempt."""
        self._noises += 1
        return EphemeralNoise(Random(f"{self.ring.seed}, noise {self._noises}").randbytes)

    def _heard(self, packet: Packet) -> None:
        if packet.topic.endswith("/state") and packet.payload:
            state = codec.from_json(JobState, packet.payload)
            self.states.setdefault(state.job, []).append(state)
        elif "/replies/" in packet.topic:
            self.answers.append(json.loads(packet.payload))

    def _seed_model(self, numbers: int) -> None:
        weights = first_weights(numbers)
        all_kinds = self._trains and not self._private
        if not all_kinds:
            weights = {name: weights[name] for name in ("w", "b")}
        layout = Layout.of(weights, ROLES if all_kinds else {})
        spec = codec.to_json(
            ModelSpec(
                model=MODEL,
                layout=tuple(
                    TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype, role=t.role)
                    for t in layout.tensors
                ),
                architectures={"light": {"name": "none"}},
            )
        )
        blob = bytes(encode(weights, layout))
        store = SqliteStore(self.folder / "repository", durable=False)
        blob_refs = [kept(store, content) for content in (spec, blob)]
        store.push(PushModel(model=MODEL, spec=blob_refs[0], weights=blob_refs[1]), ())
        store.close()


class RecordingTrainer(QuadraticTrainer):
    """A trainer that records its differences."""

    def __init__(self, architecture: Mapping[str, Any], records: AgentRecords) -> None:
        super().__init__(architecture)
        self._records = records

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Train, and record the differences of all tensors."""
        update = super().train(weights, data, params)
        differences = {name: new - weights[name] for name, new in update.weights.items()}
        self._records.trained[params.seed] = differences
        return update


def kept(store: SqliteStore, content: bytes) -> BlobRef:
    """Store a blob, and return its reference."""
    blob_ref = BlobRef(digest=digest_of(content), size=len(content))
    upload = store.upload(blob_ref)
    upload.write(0, content)
    upload.keep()
    return blob_ref


def fault_rng(seed: int) -> Random:
    """Return the random number generator of a test's faults, independent of the ring's."""
    return Random(f"faults of {seed}")
