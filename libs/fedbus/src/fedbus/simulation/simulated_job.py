"""A job in the ring: its services, its model, its states until it has ended."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.client.packing import PackedModel
from fedbus.client.repository import Push
from fedbus.cluster.members import NOISE_KEY
from fedbus.data import Dataset
from fedbus.datasource.config import DataConfig
from fedbus.datasource.source import DataSource, InMemorySource
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import DEFAULT_BITS, choose_parameters
from fedbus.errors import FedbusError, SettingsError
from fedbus.frameworks.tflite.admission import Admission
from fedbus.jobs import JobFileError, parse, read_refusal
from fedbus.mqtt.bus import Packet
from fedbus.plugins import TrainerFactory
from fedbus.privacy.noise_key import create_noise_key
from fedbus.simulation import services
from fedbus.simulation.host import RunningService
from fedbus.simulation.network_faults import MessageCounts, NetworkFaults
from fedbus.simulation.ring import Ring
from fedbus.simulation.stored_records import read_weights
from fedbus.wire import codec, topics
from fedbus.wire.documents import ENDED_PHASES, JobFault, JobState, RoundState
from fedbus.wire.messages import ModelPushed
from fedbus.wire.timestamps import format_timestamp
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_repository.stores.records import ModelView
from fedbus_repository.stores.sqlite.store import SqliteStore

USER = "user.simulation"
LONGEST_SIMULATION_SECONDS = 10 * 365 * 86_400.0
"""Limit of simulated time; only a job that cannot end reaches it."""
WAITING_SECONDS = 300.0
"""Simulated time that a job may wait for agents; in a simulation no agent joins later."""


class SimulationFailed(FedbusError):  # noqa: N818 - the job failed, not the code
    """The job was refused, or could not end."""

    def __init__(self, why: str, faults: Sequence[JobFault] = ()) -> None:
        super().__init__(why)
        self.faults = faults


class SimulationStuck(SimulationFailed):
    """The job waits for agents that do not exist; the message is the reason in its state."""


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """Result of a simulated job: its last state, rounds, newest weights and message counts."""

    state: JobState
    rounds: tuple[RoundState, ...]
    weights: Mapping[str, NDArray[Any]]
    message_counts: MessageCounts


def _loader_of(file: bytes) -> str | None:
    try:
        return parse(file).plugins.loader
    except JobFileError:
        return None  # the controller refuses it


def _key_of(file: bytes) -> SecretKey | None:
    """Make a key for a job with homomorphic encryption, as its agents would have; else None.

    With parameters that no key can have it is a usual one, and the controller refuses the job.

    Raises:
        SimulationFailed: TenSEAL is not installed.
    """
    try:
        job = parse(file)
    except JobFileError:
        return None
    wanted = job.privacy_mechanisms.homomorphic
    if wanted is None:
        return None
    agents = job.round.agents
    try:
        parameters = choose_parameters(
            scheme=wanted.asked_scheme or "bfv",
            bits=wanted.bits or DEFAULT_BITS,
            agents=agents,
            poly_modulus_degree=wanted.poly_modulus_degree,
            coeff_mod_bit_sizes=wanted.coeff_mod_bit_sizes,
            scale_bits=wanted.scale_bits,
        )
    except SettingsError:
        parameters = choose_parameters(agents=agents)
    try:
        return SecretKey.generate(parameters)
    except SettingsError as error:
        raise SimulationFailed(str(error)) from error


class SimulatedJob:
    """The ring of one simulation, and the published states of its job."""

    def __init__(  # noqa: PLR0913, PLR0917 - the arguments of `simulate`
        self,
        folder: Path,
        file: bytes,
        seed: int,
        faults: NetworkFaults,
        watch: Callable[[RoundState], None],
        stop: threading.Event,
        loader_options: Mapping[str, Any],
    ) -> None:
        self._stop = stop
        self._options = loader_options
        self._folder = folder
        self._file = file
        self._loader = _loader_of(file)
        self._key = _key_of(file)
        self._admission = Admission()  # one for all agents, which share this process
        self._ring = Ring(seed=seed, faults=faults)
        self._watch = watch
        self._state: JobState | None = None
        self._rounds: dict[int, RoundState] = {}
        self._refusal = ""
        self._faults: Sequence[JobFault] = ()
        self._pushed = False
        self._waiting_since = 0.0

    def start_services(
        self,
        model: PackedModel,
        data: Mapping[str, Dataset | Path],
        held_out: Dataset | Path | None,
        own: Mapping[str, TrainerFactory],
    ) -> None:
        """Start all services, and push the model as a user does."""
        ring, folder = self._ring, self._folder
        secret = np.random.default_rng(ring.seed).bytes(32)
        heartbeat = ring.heartbeat_seconds
        ring.add(
            services.REPOSITORY,
            services.repository(folder / "repository", lambda: secret, self._utc),
        )
        ring.add("user.pusher", lambda _: RunningService(self._pusher(model)))
        ring.run(self._has_model)
        public = None if self._key is None else self._key.public
        ring.add(services.CONTROLLER, services.controller(heartbeat, self._utc, public))
        create_noise_key(folder / NOISE_KEY)
        ring.add(
            services.COLLECTOR,
            services.collector(noise_key=folder / NOISE_KEY, encryption_key=public),
        )
        for name, dataset in data.items():
            self._add_agent(f"agent.{name.removeprefix('agent.')}", dataset, "train", own)
        if held_out is not None:
            self._add_agent("agent.held-out", held_out, "evaluate", own)
        prefix = topics.ROOT
        follow = [f"{prefix}/jobs/#", f"{prefix}/replies/#"]
        ring.listen(USER, follow, self._on_packet)

    def run_job(self) -> SimulationResult:
        """Submit the job and run the ring until it has ended."""
        reply = f"{topics.ROOT}/replies/simulation"

        def submit() -> None:
            if self._state is None and not self._refusal:
                submission = Packet(f"{topics.ROOT}/submit", self._file, response_topic=reply)
                self._ring.publish(USER, submission)
                self._ring.at(self._ring.now + 2.0, submit)

        submit()
        self._ring.run(self._has_ended, LONGEST_SIMULATION_SECONDS, steps=None)
        if self._refusal or self._state is None:
            raise SimulationFailed(self._refusal, self._faults)
        rounds = tuple(self._rounds[number] for number in sorted(self._rounds))
        weights, counts = self._weights(self._state), self._ring.message_counts
        return SimulationResult(self._state, rounds, weights, counts)

    def close(self) -> None:
        """Kill every service."""
        for name in list(self._ring.hosts):
            self._ring.kill(name)

    def _utc(self) -> str:
        return format_timestamp(self._ring.now)  # counted from 1970, so a replay has the same times

    def _has_model(self) -> bool:
        self._check_stop()
        return self._pushed or bool(self._refusal)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt

    def _has_ended(self) -> bool:
        self._check_stop()
        state, now = self._state, self._ring.now
        if (
            state is not None
            and state.reason
            and not state.agents
            and state.phase not in ENDED_PHASES
        ):
            if now > self._waiting_since + WAITING_SECONDS:
                raise SimulationStuck(f"job {state.job} cannot go on: {state.reason}")
        else:
            self._waiting_since = now
        return bool(self._refusal) or (state is not None and state.phase in ENDED_PHASES)

    def _pusher(self, model: PackedModel) -> Push[ModelPushed]:
        push = Push(services.REPOSITORY, model.push, ModelPushed, model.blobs)

        def finish(answer: ModelPushed | FedbusError) -> None:
            self._pushed = isinstance(answer, ModelPushed)
            self._refusal = str(answer) if isinstance(answer, FedbusError) else ""

        push.finish = finish
        return push

    def _add_agent(
        self,
        name: str,
        data: Dataset | Path,
        role: services.Role,
        own: Mapping[str, TrainerFactory],
    ) -> None:
        source = InMemorySource(data) if isinstance(data, Dataset) else self._read(data)

        def trainer(_name: str, outbox: Outbox) -> LocalTrainer:
            return LocalTrainer(
                outbox, source, None, own, admission=self._admission, encryption_key=self._key
            )

        examples = source.now.train.examples
        form = source.now.form.plain()
        agent = services.agent(
            self._folder,
            trainer,
            role,
            examples,
            form,
            masked_in=services.masked_tasks,
            encryption_key=self._key,
        )
        self._ring.add(name, agent)

    def _read(self, path: Path) -> DataSource:
        return DataSource(DataConfig(path=path, loader=self._loader, options=self._options))

    def _on_packet(self, packet: Packet) -> None:
        if "/replies/" in packet.topic:
            self._faults = read_refusal(json.loads(packet.payload))
            self._refusal = "\n".join(map(str, self._faults))
        elif packet.topic.endswith("/state") and packet.payload:
            self._state = codec.from_json(JobState, packet.payload)
        elif "/rounds/" in packet.topic and packet.payload:
            finished = codec.from_json(RoundState, packet.payload)
            if finished.round not in self._rounds:
                self._rounds[finished.round] = finished
                self._watch(finished)

    def _weights(self, state: JobState) -> Mapping[str, NDArray[Any]]:
        self._ring.kill(services.REPOSITORY)
        store = SqliteStore(self._folder / "repository", durable=False)
        try:
            shown = store.show(state.model, state.version, 1)
            assert isinstance(shown, ModelView)  # noqa: S101 - the job has made this version
            return read_weights(store, shown.version, self._key)[1]
        finally:
            store.close()
