"""A job in the ring: its services, its model, its states until it has ended."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.client.packed_model import PackedModel
from fedbus.client.repository import Push
from fedbus.cluster.members import NOISE_KEY
from fedbus.data import Dataset
from fedbus.datasource.config import DataConfig
from fedbus.datasource.source import DataSource, InMemorySource
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import choose_parameters
from fedbus.errors import FedbusError, SettingsError
from fedbus.frameworks.tflite.admission import Admission
from fedbus.jobs import JobFileError, parse
from fedbus.mqtt.bus import Packet
from fedbus.plugins import TrainerFactory
from fedbus.privacy.noise_key import create_noise_key
from fedbus.simulation import services
from fedbus.simulation.host import RunningService
from fedbus.simulation.network_faults import MessageCounts, NetworkFaults
from fedbus.simulation.published_job import PublishedJob, SimulationFailed
from fedbus.simulation.ring import Ring
from fedbus.simulation.stored_records import read_weights
from fedbus.strategies.encryption_key_faults import UNKNOWN_KEY, key_parameters
from fedbus.wire import topics
from fedbus.wire.documents import JobState, RoundState
from fedbus.wire.messages import ModelPushed
from fedbus.wire.timestamps import format_timestamp
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_repository.stores.records import ModelView
from fedbus_repository.stores.sqlite.store import SqliteStore

USER = "user.simulation"
LONGEST_SIMULATION_SECONDS = 10 * 365 * 86_400.0
"""Limit of simulated time; only a job that cannot end reaches it."""


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
    try:
        parameters = key_parameters(job, wanted, UNKNOWN_KEY)
    except SettingsError:
        parameters = choose_parameters(agents=job.round.agents)
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
        self._published = PublishedJob(watch)
        self._pushed = False

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
        ring.listen(USER, follow, self._published.receive)

    def run_job(self) -> SimulationResult:
        """Submit the job and run the ring until it has ended."""
        reply, published = f"{topics.ROOT}/replies/simulation", self._published

        def submit() -> None:
            if published.state is None and not published.refusal:
                submission = Packet(f"{topics.ROOT}/submit", self._file, response_topic=reply)
                self._ring.publish(USER, submission)
                self._ring.at(self._ring.now + 2.0, submit)

        submit()
        self._ring.run(self._has_ended, LONGEST_SIMULATION_SECONDS, steps=None)
        if published.refusal or published.state is None:
            raise SimulationFailed(published.refusal, published.faults)
        weights, counts = self._weights(published.state), self._ring.message_counts
        return SimulationResult(published.state, published.rounds, weights, counts)

    def close(self) -> None:
        """Kill every service."""
        for name in list(self._ring.hosts):
            self._ring.kill(name)

    def _utc(self) -> str:
        return format_timestamp(self._ring.now)  # counted from 1970, so a replay has the same times

    def _has_model(self) -> bool:
        self._check_stop()
        return self._pushed or bool(self._published.refusal)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt

    def _has_ended(self) -> bool:
        self._check_stop()
        return self._published.has_ended(self._ring.now)

    def _pusher(self, model: PackedModel) -> Push[ModelPushed]:
        push = Push(services.REPOSITORY, model.push, ModelPushed, model.blobs)

        def finish(answer: ModelPushed | FedbusError) -> None:
            self._pushed = isinstance(answer, ModelPushed)
            self._published.refusal = str(answer) if isinstance(answer, FedbusError) else ""

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

    def _weights(self, state: JobState) -> Mapping[str, NDArray[Any]]:
        self._ring.kill(services.REPOSITORY)
        store = SqliteStore(self._folder / "repository", durable=False)
        try:
            shown = store.show(state.model, state.version, 1)
            assert isinstance(shown, ModelView)  # noqa: S101 - the job has made this version
            return read_weights(store, shown.version, self._key)[1]
        finally:
            store.close()
