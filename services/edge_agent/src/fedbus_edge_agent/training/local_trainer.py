"""Training and evaluation with this machine's trainer plug-ins; runs in the training thread."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from fedbus.blobs.spool import Spool
from fedbus.data import Dataset
from fedbus.datasource.source import DataSource, InMemorySource
from fedbus.encryption.key_files import SecretKey
from fedbus.energy.energy_meter import EnergyMeter, MeasuredWork
from fedbus.energy.processor_energy import ConstantPower
from fedbus.errors import PrivacyError, StoreError
from fedbus.frameworks.tflite.admission import Admission
from fedbus.jobs.eligibility import RowFormat
from fedbus.model.blob import decode, encode_delta
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Weights
from fedbus.plugins import SecretNoise, TrainerFactory
from fedbus.privacy.secret_noise import EphemeralNoise
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import DataOverrides, TrainingParams
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import EvaluateTask, FeatureTask, TrainTask
from fedbus.wire.privacy import PrivacyTerms
from fedbus_edge_agent.masking.unmasked_update import UnmaskedUpdate
from fedbus_edge_agent.mistnet.feature_answers import NewFeatures
from fedbus_edge_agent.mistnet.feature_training import FeatureTraining, prepare_cut
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.encrypted_update import TrainedFrom
from fedbus_edge_agent.training.errors import contain_exits, describe_error
from fedbus_edge_agent.training.frozen_numbers import frozen_numbers, held_at_base
from fedbus_edge_agent.training.local_evaluation import LocalEvaluation
from fedbus_edge_agent.training.local_strategy import StrategyPlugins
from fedbus_edge_agent.training.local_tensors import LocalTensors
from fedbus_edge_agent.training.measured_tasks import is_measured
from fedbus_edge_agent.training.optimizer_state import OptimizerStates
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.private_offer import training_report, undisclosed
from fedbus_edge_agent.training.private_task import (
    check_private_layout,
    check_private_task,
    protects_own_data,
)
from fedbus_edge_agent.training.readable_version import readable_version
from fedbus_edge_agent.training.round_files import RoundFiles
from fedbus_edge_agent.training.strategy_loader import StrategyLoader
from fedbus_edge_agent.training.task_runner import (
    NO_STRATEGY_BLOBS,
    EvaluationResult,
    Model,
    StrategyBlobs,
    TrainingResult,
)
from fedbus_edge_agent.training.trainer_cache import CachedTrainer, LoadedTrainers
from fedbus_edge_agent.training.trainers import Trainers
from fedbus_edge_agent.training.training_facts import FactsOfTask
from fedbus_edge_agent.training.update_destinations import (
    UpdateDestination,
    memory_for_masks,
    outbox_for,
)
from fedbus_edge_agent.training.weights_trainer import WeightsTrainer, row_format

T = TypeVar("T")


class LocalTrainer:
    """Trains and evaluates on `data` with this machine's trainers (see `Trainers`).

    `admission` decides which `.tflite` files are opened in this process, `noise` makes the source
    of noise of each private task, `encryption_key` reads and makes what is encrypted, and `meter`
    measures the energy of tasks that ask for it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all but three have a good default
        self,
        outbox: Outbox,
        data: Dataset | InMemorySource | DataSource,
        preferred: str | None,
        factories: Mapping[str, TrainerFactory] | None = None,
        allowed: Collection[str] | None = None,
        admission: Admission | None = None,
        noise: Callable[[], SecretNoise] = EphemeralNoise,
        encryption_key: SecretKey | None = None,
        meter: EnergyMeter | None = None,
    ) -> None:
        self.trainers = Trainers(preferred, factories, allowed)
        self._outbox = outbox
        self._encryption_key = encryption_key
        self._meter = meter or EnergyMeter(ConstantPower())
        self._local_tensors = LocalTensors(RoundFiles(outbox.folder / "local", ".local"))
        self.strategies = StrategyLoader(StrategyPlugins(allowed), outbox, noise)
        self._source = InMemorySource(data) if isinstance(data, Dataset) else data
        self.weights_trainer = WeightsTrainer(
            self._source,
            LoadedTrainers(self.trainers, admission or Admission()),
            OptimizerStates(RoundFiles(outbox.folder / "states", ".state")),
        )
        self.features = FeatureTraining(self.weights_trainer, outbox.folder)
        self._evaluation = LocalEvaluation(
            self.weights_trainer, self._local_tensors, encryption_key, self._meter
        )

    def train(
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        control: TaskControl,
        strategy: StrategyBlobs = NO_STRATEGY_BLOBS,
    ) -> TrainingResult:
        """Train from the base version and store the difference to it in the outbox.

        `base` is its thin blob if the task names one: the difference is then to the weights that
        are read out of it. The optimizer state is saved last: the disk may have room for the update
        only.

        Raises:
            FedbusError: The base is damaged, no trainer can be used, or training failed.
            Stopped: The task was cancelled.
        """
        with self._meter.working("training", measured=is_measured(task)) as work:
            keep = self._outbox_for(task, model, control, work)
            return self._train(task, model, base, control, strategy, keep)

    def train_to_mask(
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        control: TaskControl,
        strategy: StrategyBlobs = NO_STRATEGY_BLOBS,
    ) -> UnmaskedUpdate:
        """Train as `train` does, and return the update, which is in memory only, to be masked."""
        with self._meter.working("training", measured=False):
            keep = memory_for_masks(task, model.layout)
            return self._train(task, model, base, control, strategy, keep)

    def train_on_features(  # noqa: PLR0913, PLR0917 - as `FeatureRunner` has it
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        control: TaskControl,
        state: Blob | None,
        spools: Sequence[Spool | None],
    ) -> TrainingResult:
        """Train the layers after the cut on the features of other agents; as `train`."""
        keep = self._outbox_for(task, model, control)
        return self._train(task, model, base, control, StrategyBlobs(state), keep, spools)

    def make_features(
        self, task: FeatureTask, model: Model, base: Blob, control: TaskControl
    ) -> NewFeatures:
        """Compute, randomize and store the features of this agent's examples."""
        return self.features.make(task, model, base, control)

    def _train(  # noqa: PLR0913, PLR0917 - as above
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        control: TaskControl,
        beside: StrategyBlobs,
        keep: UpdateDestination[T],
        spools: Sequence[Spool | None] | None = None,
    ) -> T:
        control.begin()
        check_private_task(task)
        if protects_own_data(task):
            check_private_layout(model.layout)
            self._outbox.released.check(task)
        base = readable_version(task.base, model, base, self._encryption_key)
        held = frozen_numbers(task, model.layout, beside.frozen)
        weights = self._initial_of(task, model, base, control)
        terms, data = task.feature_terms, None
        if terms is not None and spools is not None:
            data = self.features.data(task, terms, spools, control)
        elif task.privacy is not None and not protects_own_data(task):
            raise PrivacyError("the features that the task must train on are not here")
        strategy = self.strategies.start(task, model.layout, weights, beside.state, control)
        measured = FactsOfTask(task)

        def before(loaded: CachedTrainer, data: Dataset) -> LocalTerms | None:
            if terms is not None:
                prepare_cut(loaded, terms)
            measured.begin(loaded, weights, data)
            return strategy.terms(loaded)

        with undisclosed(task, control):
            update = self.weights_trainer.train(task, model, weights, control, before, data)
            moved = held_at_base(update.weights, weights, model.layout, held)
            blob = encode_delta(moved, base, model.layout, strategy.update_layout)
            with contain_exits():
                steps = measured.steps(control) if strategy.needs_steps else 0
                finished = strategy.finish(blob, steps)
            trained = TrainedFrom(
                base=base,
                anchor=model.anchor,
                examples=update.examples if task.privacy is None else 1,
                bound=strategy.public_bound,
                frozen=held,
            )
            report = training_report(task, update, measured.end(control), finished.norm_bit)
            store = keep(blob, trained, report, finished)
        result = store()
        try:
            self._local_tensors.save(update.weights, model.layout, task.job, task.round)
        except StoreError as error:  # the update is stored, and counts
            control.notes.append(("local_tensors_lost", describe_error(error)))
        self.weights_trainer.save_optimizer_state(task, control)
        return result

    def _outbox_for(
        self, task: TrainTask, model: Model, control: TaskControl, work: MeasuredWork | None = None
    ) -> UpdateDestination[TrainingResult]:
        return outbox_for(task, model.layout, self._outbox, self._encryption_key, control, work)

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

    def evaluate(
        self, task: EvaluateTask, model: Model, weights: Blob, control: TaskControl
    ) -> EvaluationResult:
        """Compute the metrics of a version, with this agent's local tensors where it has some.

        Raises:
            FedbusError: The weights are damaged, no trainer can be used, or it cannot evaluate.
            Stopped: The task was cancelled.
        """
        return self._evaluation.evaluate(task, model, weights, control)

    def check(self, trainer: str | None, overrides: DataOverrides | None) -> None:
        """Reject plug-ins that the agent cannot use: `Trainers.check` and `DataSource.check`."""
        self.trainers.check(trainer)
        self._source.check(overrides)

    def check_strategy(self, params: TrainingParams, privacy: PrivacyTerms | None = None) -> int:
        """Reject parts of a strategy that the agent cannot use; see `StrategyPlugins.check`."""
        return self.strategies.plugins.check(params, privacy)

    def rows(self, overrides: DataOverrides) -> RowFormat:
        """Return the format of a trainer's rows; see `DataSource.expected_pipeline`."""
        pipeline = self._source.expected_pipeline(overrides)
        return RowFormat({}, 0) if pipeline is None else row_format(pipeline)

    def choose(self, spec: ModelSpec, wanted: str | None) -> str:
        """Return the name of the architecture that will be used; see `Trainers.choose`."""
        return self.trainers.choose(spec, wanted)
