"""The heavy work of an agent: train, evaluate. Called in a worker thread, stopped by a flag."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from fedbus.blobs.files import FileBlob
from fedbus.data import Dataset
from fedbus.data.dataset import joins_last_row
from fedbus.datasource.config import Loaded
from fedbus.datasource.pipeline import Pipeline
from fedbus.datasource.source import Fixed, Source
from fedbus.digest import digest_of
from fedbus.errors import PluginError, Stopped, StoreError, TrainingError
from fedbus.frameworks.tflite.admission import TFLITE, Admission
from fedbus.jobs.eligibility import RowFormat, batch_memory_reason
from fedbus.model.blob import Blob, decode, encode_delta
from fedbus.model.layout import Layout, Weights
from fedbus.plugins import Evaluates, Stateful, Trainer, TrainerFactory
from fedbus.training.params import DataOverrides, TrainingParams, Update
from fedbus.wire import codec
from fedbus.wire.announced_names import names_of
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import EvaluateTask, Offer, TrainTask
from fedbus_edge_agent.host.capabilities import memory_mb
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.checks import check_finite, checked_metrics
from fedbus_edge_agent.training.errors import describe_error
from fedbus_edge_agent.training.local_tensors import LocalTensors
from fedbus_edge_agent.training.optimizer_state import OptimizerStates
from fedbus_edge_agent.training.outbox import Outbox, StoredOffer
from fedbus_edge_agent.training.round_files import RoundFiles
from fedbus_edge_agent.training.trainer_cache import CachedTrainer, TrainerCache
from fedbus_edge_agent.training.trainers import Trainers

_LAST = 2**31
"""Beyond any round: a score is taken with the latest of an agent's local tensors."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model as an agent holds it: its spec, and the files the spec names, by digest."""

    spec: ModelSpec
    layout: Layout
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """An update, on disk, ready to be offered; `inline` where it is small enough."""

    kept: StoredOffer
    source: FileBlob
    inline: bytes | None


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """A version's score on this agent's data."""

    examples: int
    metrics: dict[str, float]


class LocalTraining(Protocol):
    """A training on this agent: a controller's task, or a round of a standalone job."""

    @property
    def job(self) -> str:
        """Id of the job."""

    @property
    def params(self) -> TrainingParams:
        """How to train."""

    @property
    def trainer(self) -> str | None:
        """Trainer that the job names; None leaves it to the agent."""


class TaskRunner(Protocol):
    """Where an agent's work is done; a fake one trains nothing, quickly."""

    def train(
        self, task: TrainTask, model: Model, base: Blob, control: TaskControl
    ) -> TrainingResult:
        """Train from the base and keep the update."""

    def evaluate(
        self, task: EvaluateTask, model: Model, weights: Blob, control: TaskControl
    ) -> EvaluationResult:
        """Score the weights."""


def keep(
    outbox: Outbox, task: TrainTask, update: Blob, examples: int, metrics: Mapping[str, float]
) -> TrainingResult:
    """Put an update on disk, with the offer that will be made of it.

    Raises:
        FedbusError: no collector could read the offer, or the disk is full.
    """
    size = memoryview(update).nbytes
    offer = Offer(
        job=task.job,
        round=task.round,
        task=task.task,
        base=task.base.version,
        update=BlobRef(digest=digest_of(update), size=size),
        examples=int(examples),
        metrics=checked_metrics(metrics),
    )
    codec.unpack(Offer, codec.pack(offer))  # a trainer may have counted no examples, say
    kept = StoredOffer(collector=task.collector, offer=offer)
    return TrainingResult(
        kept, outbox.keep(kept, update), bytes(update) if size <= task.inline_up_to else None
    )


class LocalTrainer:
    """Trains with whatever framework is installed here and named in the model's spec.

    `trainer`, `own` and `allowed` are as for `Trainers`; `own` are those of a simulation.
    `admission` decides which `.tflite` files are opened here.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all but three have a good default
        self,
        outbox: Outbox,
        data: Dataset | Fixed | Source,
        trainer: str | None,
        own: Mapping[str, TrainerFactory] | None = None,
        allowed: Collection[str] | None = None,
        admission: Admission | None = None,
    ) -> None:
        self._admission = admission or Admission()
        self.trainers = Trainers(trainer, own, allowed)
        self._outbox = outbox
        self._optimizer_states = OptimizerStates(RoundFiles(outbox.folder / "states", ".state"))
        self._local = LocalTensors(RoundFiles(outbox.folder / "local", ".local"))
        self._source = Fixed(data) if isinstance(data, Dataset) else data
        self._trainers = TrainerCache()

    def train(
        self, task: TrainTask, model: Model, base: Blob, control: TaskControl
    ) -> TrainingResult:
        """Train from the base, subtract it, keep the difference.

        What the trainer remembers is kept after it: the disk may have room for one of them only.

        Raises:
            FedbusError: the base is damaged, no trainer fits, or training failed.
            Stopped: the flag was raised.
        """
        control.begin()
        check_digest(base, task.base.weights)
        weights = decode(base, model.layout, "plain")
        begin = self._local.into(weights, model.layout, task.job, task.round)
        if begin is None:
            why = "this agent's local tensors cannot be read: it begins with the model's"
            control.notes.append(("began_afresh", why))
        update = self.train_weights(task, model, begin or weights, control)
        blob = encode_delta(update.weights, base, model.layout)
        trained = keep(self._outbox, task, blob, update.examples, update.metrics)
        self._keep_local(task, model.layout, update.weights, control)
        self.save_optimizer_state(task, control)
        return trained

    def _keep_local(
        self, task: TrainTask, layout: Layout, weights: Weights, control: TaskControl
    ) -> None:
        try:
            self._local.keep(weights, layout, task.job, task.round)
        except StoreError as error:  # the update is safe, and counts
            control.notes.append(("local_tensors_lost", describe_error(error)))

    def initial_weights(self, model: Model, wanted: str | None) -> Weights:
        """Make the weights of a model that has learnt nothing yet.

        Raises:
            FedbusError: no trainer fits, or its weights are not those of the model.
        """
        with contain_exits(), self._trainer_for(model, wanted) as trainer:
            weights = trainer.initial()
        model.layout.check(weights)
        return weights

    def train_weights(
        self, task: LocalTraining, model: Model, weights: Weights, control: TaskControl
    ) -> Update:
        """Train on this agent's data; the new weights are numbers of the model's layout.

        Once they are safe, `remember` keeps what the trainer remembers.

        Raises:
            FedbusError: no trainer fits, or training failed, its weights are not finite, say.
            Stopped: the flag was raised, whether or not the trainer let that pass.
        """
        params = task.params
        with contain_exits():
            data = control.watch(self._data(model, params).train)
        with contain_exits(), self._trainer_for(model, task.trainer) as trainer:
            control.check()
            if joins_last_row(data.examples, params.batch_size):
                control.notes.append(("last_row_joined", _joined(data.examples, params.batch_size)))
            if params.keep_optimizer_state and isinstance(trainer, Stateful) and params.round > 1:
                if not self._optimizer_states.restore(trainer, task.job, params):
                    why = "what the optimizer remembered is not here, or not to be read"
                    control.notes.append(("began_afresh", why))
                control.check()
            update = trainer.train(weights, data, params)
        if control.stopped:
            raise Stopped("asked to stop while it trained")
        model.layout.check(update.weights)
        check_finite(update.weights)
        return update

    def save_optimizer_state(self, task: LocalTraining, control: TaskControl) -> None:
        """Keep what the trainer remembers of a training for the next round, where the job wants it.

        If it cannot be kept, that is noted, and the next round begins afresh: what was learnt
        counts all the same.
        """
        made = self._trainers.last
        if not task.params.keep_optimizer_state or made is None:
            return
        try:
            with contain_exits():
                self._optimizer_states.keep(made.trainer, task.job, task.params)
        except Exception as error:  # noqa: BLE001 - a disk, or somebody's trainer
            self._optimizer_states.forget(task.job)
            control.notes.append(("state_lost", describe_error(error)))

    def _data(self, model: Model, params: TrainingParams) -> Loaded:
        loaded = self._source.fresh(model.spec.input, params.data_overrides)
        check_classes(loaded.form.y.classes, model.spec.classes)
        rows, examples = _rows_of(loaded.pipeline), loaded.train.examples
        if reason := batch_memory_reason(rows, params, examples, memory_mb()):
            raise TrainingError(reason)
        return loaded

    def evaluate(
        self, task: EvaluateTask, model: Model, weights: Blob, control: TaskControl
    ) -> EvaluationResult:
        """Score a version on all of this agent's data, with its own local tensors if it has some.

        Raises:
            FedbusError: the weights are damaged, no trainer fits, or it cannot evaluate.
            Stopped: the flag was raised.
        """
        control.begin()
        check_digest(weights, task.version.weights)
        with contain_exits():
            data = control.watch(self._data(model, task.params).test)
        arrays = decode(weights, model.layout, "plain")
        own = self._local.into(arrays, model.layout, task.job, _LAST)
        with contain_exits(), self._trainer_for(model, task.trainer) as trainer:
            if not isinstance(trainer, Evaluates):
                raise PluginError(f"{type(trainer).__name__} cannot evaluate")
            control.check()
            metrics = trainer.evaluate(own or arrays, data, task.params)
        return EvaluationResult(data.examples, checked_metrics(metrics))

    @contextmanager
    def _trainer_for(self, model: Model, wanted: str | None) -> Iterator[Trainer]:
        """Make or take the trainer of a model; its `.tflite` file is marked as worked with."""
        name = self.choose(model.spec, wanted)
        made = self._trainers.find(model.spec, name)
        if made is None:
            self._trainers.make_room(model.layout.size)
            made = self._make(model, name)
            self._trainers.keep(made)
        with self._marked(made.file):
            yield made.trainer

    def _make(self, model: Model, name: str) -> CachedTrainer:
        architecture = {
            key: model.files[value["digest"]] if key == "blob" else value
            for key, value in model.spec.architectures[name].items()
        }
        file = architecture.get("blob") if name == TFLITE else None
        digest = None if file is None else self._admission.admit(file, model.layout)
        with self._marked(digest):
            trainer = self.trainers.factory(name)(architecture)
        return CachedTrainer(model.spec, name, digest, model.layout.size, trainer)

    def _marked(self, file: str | None) -> AbstractContextManager[None]:
        return nullcontext() if file is None else self._admission.using(file)

    def check(self, trainer: str | None, overrides: DataOverrides | None) -> None:
        """Refuse plug-ins that are not here; see `Trainers.check` and `Source.check`."""
        self.trainers.check(trainer)
        self._source.check(overrides)

    def rows(self, overrides: DataOverrides) -> RowFormat:
        """Return the format of rows that a job's trainer would get; see `Source.expected`."""
        pipeline = self._source.expected(overrides)
        return RowFormat({}, 0) if pipeline is None else _rows_of(pipeline)

    def choose(self, spec: ModelSpec, wanted: str | None) -> str:
        """Name the architecture that will be used; see `Trainers.choose`."""
        return self.trainers.choose(spec, wanted)


@contextmanager
def contain_exits() -> Iterator[None]:
    """Let somebody's trainer end its training, but not the agent.

    Raises:
        TrainingError: it wanted to exit.
    """
    try:
        yield
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        raise TrainingError(f"the trainer wanted to exit: {describe_error(error)}") from error


def _joined(rows: int, size: int) -> str:
    return f"{rows} rows in batches of {size} leave one row: the last batch has {size + 1}"


def _rows_of(pipeline: Pipeline) -> RowFormat:
    return RowFormat(pipeline.output.plain(), pipeline.widest)


def check_classes(data: Sequence[str], model: Sequence[str]) -> None:
    """Refuse data whose classes have other names, or another order, than a model's outputs.

    Raises:
        TrainingError: shows both lists.
    """
    if data and model and tuple(data) != tuple(model):
        raise TrainingError(
            f"the classes of the data are {names_of(data)}; those of the model are "
            f'{names_of(model)} ("classes" in FEDBUS_LOADER_OPTIONS puts them in its order)'
        )


def check_digest(blob: Blob, blob_ref: BlobRef) -> None:
    """Refuse bytes that are not those the blob_ref names."""
    if digest_of(blob) != blob_ref.digest:
        raise TrainingError("the model's bytes are not those of its digest")
