"""Training and evaluation with this machine's trainer plug-ins; runs in the training thread."""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from fedbus.data import Dataset
from fedbus.data.dataset import joins_last_row
from fedbus.datasource.config import LoadedData
from fedbus.datasource.pipeline import Pipeline
from fedbus.datasource.source import DataSource, InMemorySource
from fedbus.errors import PluginError, Stopped, StoreError, TrainingError
from fedbus.frameworks.tflite.admission import Admission
from fedbus.jobs.eligibility import RowFormat, batch_memory_reason
from fedbus.model.blob import decode, encode_delta
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Weights
from fedbus.plugins import Evaluates, Stateful, TrainerFactory
from fedbus.training.params import DataOverrides, TrainingParams, Update
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import EvaluateTask, TrainTask
from fedbus_edge_agent.host.capabilities import memory_mb
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.checks import (
    check_classes,
    check_digest,
    check_finite,
    checked_metrics,
)
from fedbus_edge_agent.training.errors import contain_exits, describe_error
from fedbus_edge_agent.training.local_tensors import LocalTensors
from fedbus_edge_agent.training.optimizer_state import OptimizerStates
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.round_files import RoundFiles
from fedbus_edge_agent.training.task_runner import (
    EvaluationResult,
    Model,
    TrainingResult,
    store_update,
)
from fedbus_edge_agent.training.trainer_cache import CachedTrainer, LoadedTrainers
from fedbus_edge_agent.training.trainers import Trainers
from fedbus_edge_agent.training.training_facts import FactsOfTask

_AFTER_ALL_ROUNDS = 2**31
"""Larger than any round number: an evaluation uses the newest local tensors."""

BeforeTraining = Callable[[CachedTrainer, Dataset], None]


def _do_nothing(*_: object) -> None:
    """Prepare a training without a strategy."""


class LocalTraining(Protocol):
    """One training on this agent: a controller's task, or a round of a standalone job."""

    @property
    def job(self) -> str:
        """Id of the job."""

    @property
    def params(self) -> TrainingParams:
        """Training parameters of the job."""

    @property
    def trainer(self) -> str | None:
        """Trainer that the job names; None leaves the choice to the agent."""


class LocalTrainer:
    """Trains and evaluates on `data` with this machine's trainers (see `Trainers`).

    `admission` decides which `.tflite` files are opened in this process.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all but three have a good default
        self,
        outbox: Outbox,
        data: Dataset | InMemorySource | DataSource,
        preferred: str | None,
        factories: Mapping[str, TrainerFactory] | None = None,
        allowed: Collection[str] | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.trainers = Trainers(preferred, factories, allowed)
        self._outbox = outbox
        self._optimizer_states = OptimizerStates(RoundFiles(outbox.folder / "states", ".state"))
        self._local_tensors = LocalTensors(RoundFiles(outbox.folder / "local", ".local"))
        self._source = InMemorySource(data) if isinstance(data, Dataset) else data
        self._loaded = LoadedTrainers(self.trainers, admission or Admission())

    def train(
        self, task: TrainTask, model: Model, base: Blob, control: TaskControl
    ) -> TrainingResult:
        """Train from the base version and store the difference to it in the outbox.

        The optimizer state is saved last: the disk may have room for the update only.

        Raises:
            FedbusError: The base is damaged, no trainer can be used, or training failed.
            Stopped: The task was cancelled.
        """
        control.begin()
        check_digest(base, task.base.weights)
        weights = self._initial_of(task, model, base, control)
        facts = FactsOfTask(task)
        update = self.train_weights(
            task, model, weights, control, lambda trainer, data: facts.begin(trainer, weights, data)
        )
        blob = encode_delta(update.weights, base, model.layout)
        result = store_update(
            self._outbox, task, blob, update.examples, update.metrics, facts.end(control)
        )
        try:
            self._local_tensors.save(update.weights, model.layout, task.job, task.round)
        except StoreError as error:  # the update is stored, and counts
            control.notes.append(("local_tensors_lost", describe_error(error)))
        self.save_optimizer_state(task, control)
        return result

    def _initial_of(
        self, task: TrainTask, model: Model, base: Blob, control: TaskControl
    ) -> Weights:
        """Return the base with this agent's local tensors."""
        weights = decode(base, model.layout, "plain")
        merged = self._local_tensors.merge_into(weights, model.layout, task.job, task.round)
        if merged is None:
            reason = "the local tensors of earlier rounds cannot be read; using the model's"
            control.notes.append(("local_tensors_reset", reason))
        return merged or weights

    def initial_weights(self, model: Model, wanted: str | None) -> Weights:
        """Return the weights of an untrained model.

        Raises:
            FedbusError: No trainer can be used, or its weights do not match the model's layout.
        """
        with contain_exits(), self._loaded.use(model, wanted) as loaded:
            weights = loaded.trainer.initial()
        model.layout.check(weights)
        return weights

    def train_weights(
        self,
        training: LocalTraining,
        model: Model,
        weights: Weights,
        control: TaskControl,
        before: BeforeTraining = _do_nothing,
    ) -> Update:
        """Train on this agent's data and return finite weights of the model's layout.

        The caller stores them, then calls `save_optimizer_state`. `before` is called with the
        trainer and its data.

        Raises:
            FedbusError: No trainer can be used, or training failed.
            Stopped: The training was cancelled, even if the trainer ignored that.
        """
        params = training.params
        with contain_exits():
            data = control.watch(self._load_data(model, params).train)
        with contain_exits(), self._loaded.use(model, training.trainer) as loaded:
            trainer = loaded.trainer
            control.check()
            before(loaded, data)
            data = control.watch(data)  # its progress and steps begin again
            rows, size = data.examples, params.batch_size
            if joins_last_row(rows, size):
                left = f"{rows} rows in batches of {size} leave one row"
                control.notes.append(("last_row_joined", f"{left}: the last batch has {size + 1}"))
            if params.keep_optimizer_state and isinstance(trainer, Stateful) and params.round > 1:
                if not self._optimizer_states.restore(trainer, training.job, params):
                    reason = "there is no optimizer state of an earlier round that can be used"
                    control.notes.append(("optimizer_state_reset", reason))
                control.check()
            update = trainer.train(weights, data, params)
        if control.stopped:
            raise Stopped("asked to stop while it trained")
        model.layout.check(update.weights)
        check_finite(update.weights)
        return update

    def save_optimizer_state(self, training: LocalTraining, control: TaskControl) -> None:
        """Save the optimizer state of a training for the next round, if the job wants it.

        A failure is noted, and the next round begins without a state; the training counts.
        """
        loaded = self._loaded.cache.last
        if not training.params.keep_optimizer_state or loaded is None:
            return
        try:
            with contain_exits():
                self._optimizer_states.save(loaded.trainer, training.job, training.params)
        except Exception as error:  # noqa: BLE001 - a full disk, or a fault of a plug-in
            self._optimizer_states.files.remove(training.job)
            control.notes.append(("optimizer_state_lost", describe_error(error)))

    def _load_data(self, model: Model, params: TrainingParams) -> LoadedData:
        loaded = self._source.for_task(model.spec.input, params.data_overrides)
        check_classes(loaded.form.y.classes, model.spec.classes)
        rows, examples = _row_format(loaded.pipeline), loaded.train.examples
        if reason := batch_memory_reason(rows, params, examples, memory_mb()):
            raise TrainingError(reason)
        return loaded

    def evaluate(
        self, task: EvaluateTask, model: Model, weights: Blob, control: TaskControl
    ) -> EvaluationResult:
        """Compute the metrics of a version, with this agent's local tensors where it has some.

        Raises:
            FedbusError: The weights are damaged, no trainer can be used, or it cannot evaluate.
            Stopped: The task was cancelled.
        """
        control.begin()
        check_digest(weights, task.version.weights)
        with contain_exits():
            data = control.watch(self._load_data(model, task.params).test)
        arrays = decode(weights, model.layout, "plain")
        merged = self._local_tensors.merge_into(arrays, model.layout, task.job, _AFTER_ALL_ROUNDS)
        with contain_exits(), self._loaded.use(model, task.trainer) as loaded:
            trainer = loaded.trainer
            if not isinstance(trainer, Evaluates):
                raise PluginError(f"{type(trainer).__name__} cannot evaluate")
            control.check()
            metrics = trainer.evaluate(merged or arrays, data, task.params)
        return EvaluationResult(data.examples, checked_metrics(metrics))

    def check(self, trainer: str | None, overrides: DataOverrides | None) -> None:
        """Reject plug-ins that the agent cannot use: `Trainers.check` and `DataSource.check`."""
        self.trainers.check(trainer)
        self._source.check(overrides)

    def rows(self, overrides: DataOverrides) -> RowFormat:
        """Return the format of a trainer's rows; see `DataSource.expected_pipeline`."""
        pipeline = self._source.expected_pipeline(overrides)
        return RowFormat({}, 0) if pipeline is None else _row_format(pipeline)

    def choose(self, spec: ModelSpec, wanted: str | None) -> str:
        """Return the name of the architecture that will be used; see `Trainers.choose`."""
        return self.trainers.choose(spec, wanted)


def _row_format(pipeline: Pipeline) -> RowFormat:
    return RowFormat(pipeline.output.plain(), pipeline.max_row_bytes)
