"""A whole job in one process, with no broker: for trying a plug-in, a split, a job file.

    from fedbus.simulation.run import Model, simulate

    result = simulate(job, model, {"agent.1": data_1, "agent.2": data_2}, held_out=held_out)

Everything but the network and the clock is real: the same cores, the same bytes, the same training.
"""

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.client.packing import PackedModel, packed
from fedbus.client.repository import Push
from fedbus.data import Dataset
from fedbus.datasource.config import Recipe
from fedbus.datasource.source import Fixed, Source
from fedbus.errors import FedbusError
from fedbus.frameworks.tflite.admission import Admission
from fedbus.interruption import temporary_folder
from fedbus.jobs import JobFileError, parse, read_refusal
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.mqtt.bus import Packet
from fedbus.plugins import DescribesRoles, TrainerFactory
from fedbus.simulation import services
from fedbus.simulation.network_faults import NONE, Faults, Toll
from fedbus.simulation.ring import Life, Ring
from fedbus.wire import codec, topics
from fedbus.wire.documents import ENDED_PHASES, JobFault, JobState, ModelSpec, RoundState
from fedbus.wire.messages import ModelPushed
from fedbus.wire.timestamps import format_timestamp
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_repository.stores.records import ModelView
from fedbus_repository.stores.sqlite.store import SqliteStore

USER = "user.simulation"
LONGEST_SIMULATION_SECONDS = 10 * 365 * 86_400.0
"""Of the fake clock: only a job that cannot end reaches it."""


WAITING_SECONDS = 300.0
"""Of the fake clock, that a job may wait for somebody: in a simulation nobody comes later."""


class SimulationFailed(FedbusError):  # noqa: N818 - the job failed, not the code
    """The job was refused, or could not come to its end.

    Args:
        why: The sentence.
        faults: The faults that the controller found in the job file, if it did.
    """

    def __init__(self, why: str, faults: Sequence[JobFault] = ()) -> None:
        super().__init__(why)
        self.faults = faults


class SimulationStuck(SimulationFailed):
    """The job waits for what never comes; the sentence is what it says that it waits for."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """How a simulated job ended: its last state, rounds and weights, and what befell messages."""

    state: JobState
    rounds: tuple[RoundState, ...]
    weights: Mapping[str, NDArray[Any]]
    toll: Toll


def model_of(name: str, trainer: TrainerFactory, architecture: Mapping[str, Any]) -> PackedModel:
    """Make a model of a trainer's own first weights; its spec names the trainer `own`."""
    made = trainer(architecture)
    roles = made.roles() if isinstance(made, DescribesRoles) else {}
    plain = {"model": name, "architectures": {"own": dict(architecture)}}
    return packed(plain, made.initial(), {}, roles)


def simulate(  # noqa: PLR0913 - a job, a model and data; all else has a good default
    job: Mapping[str, Any] | bytes,
    model: PackedModel,
    data: Mapping[str, Dataset | Path],
    *,
    held_out: Dataset | Path | None = None,
    own: Mapping[str, TrainerFactory] | None = None,
    seed: int = 0,
    faults: Faults = NONE,
    watch: Callable[[RoundState], None] = lambda _: None,
    stop: threading.Event | None = None,
    loader_options: Mapping[str, Any] | None = None,
) -> Simulated:
    """Run a job.

    Args:
        job: A job file, as a mapping or as its bytes.
        model: The model to begin with.
        data: Each training agent's data, by the agent's name without its role; a path is read by
            the loader that the job chooses, or by what it looks like.
        held_out: What an evaluator scores each version on; without it, training metrics count.
        own: Trainers by name, beside those installed as plug-ins.
        seed: Replays the same run.
        faults: What goes wrong on the way.
        watch: Told of each finished round.
        stop: Set from another thread, it ends the simulation at its next step.
        loader_options: For the loader of data that are paths.

    Raises:
        SimulationFailed: the job was refused; the sentence has every fault.
        SimulationStuck: it waits for what never comes.
        KeyboardInterrupt: it was to stop, or Ctrl-C was pressed, whatever a trainer made of that.
    """
    file = job if isinstance(job, bytes) else json.dumps(dict(job)).encode()
    stop = stop or threading.Event()
    with temporary_folder("fedbus-simulation-") as folder, _heeded(stop):
        stage = _Stage(folder, seed, faults, watch, _loader(file), stop, loader_options or {})
        try:
            stage.furnish(model, data, held_out, own or {})
            return stage.play(file)
        finally:
            stage.close()


@contextmanager
def _heeded(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C end the simulation even where it is raised in the midst of somebody's code.

    An agent takes what a trainer raises for the trainer's own failing, which in its own process it
    is: there the trainer's thread is not the one that signals disturb.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def heed(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, heed)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _loader(file: bytes) -> str | None:
    try:
        return parse(file).plugins.loader
    except JobFileError:
        return None  # the controller refuses it


class _Stage:
    """One simulation's ring, and what its user hears."""

    def __init__(  # noqa: PLR0913, PLR0917 - what `simulate` is given, but for what it is made of
        self,
        folder: Path,
        seed: int,
        faults: Faults,
        watch: Callable[[RoundState], None],
        loader: str | None,
        stop: threading.Event,
        loader_options: Mapping[str, Any],
    ) -> None:
        self._stop = stop
        self._options = loader_options
        self._folder = folder
        self._loader = loader
        self._admission = Admission()  # one for all agents: they live in this process
        self._ring = Ring(seed=seed, faults=faults)
        self._watch = watch
        self._state: JobState | None = None
        self._rounds: dict[int, RoundState] = {}
        self._refusal = ""
        self._faults: Sequence[JobFault] = ()
        self._pushed = False
        self._waits_since = 0.0

    def furnish(
        self,
        model: PackedModel,
        data: Mapping[str, Dataset | Path],
        held_out: Dataset | Path | None,
        own: Mapping[str, TrainerFactory],
    ) -> None:
        """Start all services; the model is pushed as a person would."""
        ring, folder = self._ring, self._folder
        secret = np.random.default_rng(ring.seed).bytes(32)
        beat = ring.heartbeat_seconds
        ring.add(
            services.REPOSITORY,
            services.repository(folder / "repository", lambda: secret, self._utc),
        )
        ring.add("user.pusher", lambda _: Life(self._pusher(model)))
        ring.run(self._has_model)
        ring.add(services.CONTROLLER, services.controller(beat, self._utc))
        ring.add(services.COLLECTOR, services.collector())
        for name, dataset in data.items():
            self._add_agent(f"agent.{name.removeprefix('agent.')}", dataset, "train", own)
        if held_out is not None:
            self._add_agent("agent.held-out", held_out, "evaluate", own)
        prefix = topics.ROOT
        follow = [f"{prefix}/jobs/#", f"{prefix}/replies/#"]
        ring.listen(USER, follow, self._heard)

    def play(self, file: bytes) -> Simulated:
        """Submit the job and go on until it has ended."""
        reply = f"{topics.ROOT}/replies/simulation"

        def submit() -> None:
            if self._state is None and not self._refusal:
                submission = Packet(f"{topics.ROOT}/submit", file, response_topic=reply)
                self._ring.publish(USER, submission)
                self._ring.at(self._ring.now + 2.0, submit)

        submit()
        self._ring.run(self._over, LONGEST_SIMULATION_SECONDS, steps=None)
        if self._refusal or self._state is None:
            raise SimulationFailed(self._refusal, self._faults)
        rounds = tuple(self._rounds[number] for number in sorted(self._rounds))
        return Simulated(self._state, rounds, self._weights(self._state), self._ring.toll)

    def close(self) -> None:
        """End every life."""
        for name in list(self._ring.hosts):
            self._ring.kill(name)

    def _utc(self) -> str:
        return format_timestamp(
            self._ring.now
        )  # since 1970: who replays a seed sees the same times

    def _has_model(self) -> bool:
        self._heed()
        return self._pushed or bool(self._refusal)

    def _heed(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt

    def _over(self) -> bool:
        self._heed()
        state, now = self._state, self._ring.now
        if (
            state is not None
            and state.reason
            and not state.agents
            and state.phase not in ENDED_PHASES
        ):
            if now > self._waits_since + WAITING_SECONDS:
                raise SimulationStuck(f"job {state.job} cannot go on: {state.reason}")
        else:
            self._waits_since = now
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
        source = Fixed(data) if isinstance(data, Dataset) else self._read(data)

        def bench(_name: str, outbox: Outbox) -> LocalTrainer:
            return LocalTrainer(outbox, source, None, own, admission=self._admission)

        examples = source.now.train.examples
        form = source.now.form.plain()
        self._ring.add(name, services.agent(self._folder, bench, role, examples, form))

    def _read(self, path: Path) -> Source:
        return Source(Recipe(path=path, loader=self._loader, options=self._options))

    def _heard(self, packet: Packet) -> None:
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
            assert isinstance(shown, ModelView)  # noqa: S101 - the job has just trained it
            version = shown.version
            spec = codec.from_json(ModelSpec, _all(store, version.spec.digest))
            blob = _all(store, version.weights.digest)
            return decode(blob, Layout.read(spec.layout))
        finally:
            store.close()


def _all(store: SqliteStore, digest: str) -> bytes:
    source = store.open_blob(digest)
    assert source is not None  # noqa: S101 - the last version is always kept
    return bytes(source.read(0, source.size))
