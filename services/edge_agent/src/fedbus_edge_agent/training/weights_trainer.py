"""Training of weights on this agent's own data, for tasks and for standalone jobs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fedbus.data import Dataset
from fedbus.data.dataset import joins_last_row
from fedbus.datasource.config import LoadedData
from fedbus.datasource.pipeline import Pipeline
from fedbus.datasource.source import DataSource, InMemorySource
from fedbus.errors import PrivacyError, Stopped, TrainingError
from fedbus.jobs.eligibility import RowFormat, batch_memory_reason
from fedbus.model.layout import Weights
from fedbus.plugins import Stateful, UsesDpSgd, UsesLocalTerms
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import TrainingParams, Update
from fedbus_edge_agent.host.capabilities import memory_mb
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.checks import check_classes, check_finite
from fedbus_edge_agent.training.errors import contain_exits, describe_error
from fedbus_edge_agent.training.optimizer_state import OptimizerStates
from fedbus_edge_agent.training.task_runner import Model
from fedbus_edge_agent.training.trainer_cache import CachedTrainer, LoadedTrainers

BeforeTraining = Callable[[CachedTrainer, Dataset], LocalTerms | None]
"""Called with a trainer and its data; returns the terms to add to the loss."""


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


@dataclass(frozen=True, slots=True)
class WeightsTrainer:
    """Trains weights with this machine's trainers, in the training thread."""

    source: InMemorySource | DataSource
    loaded: LoadedTrainers
    optimizer_states: OptimizerStates

    def initial_weights(self, model: Model, wanted: str | None) -> Weights:
        """Return the weights of an untrained model.

        Raises:
            FedbusError: No trainer can be used, or its weights do not match the model's layout.
        """
        with contain_exits(), self.loaded.use(model, wanted) as loaded:
            weights = loaded.trainer.initial()
        model.layout.check(weights)
        return weights

    def train(  # noqa: PLR0913, PLR0917 - the last two are for some trainings only
        self,
        training: LocalTraining,
        model: Model,
        weights: Weights,
        control: TaskControl,
        before: BeforeTraining = _do_nothing,
        data: Dataset | None = None,
    ) -> Update:
        """Train on this agent's data and return finite weights of the model's layout.

        The caller stores them, then calls `save_optimizer_state`. With `data`, train on these.

        Raises:
            FedbusError: No trainer can be used, or training failed.
            Stopped: The training was cancelled, even if the trainer ignored that.
        """
        params = training.params
        if data is None:
            with contain_exits():
                data = control.watch(self.load_data(model, params).train)
        with contain_exits(), self.loaded.use(model, training.trainer) as loaded:
            trainer = loaded.trainer
            control.check()
            if params.dp_sgd is not None:
                _check_dp_sgd(loaded, data, params)
            terms = before(loaded, data)
            data = control.watch(data)  # its progress and steps begin again
            rows, size = data.examples, params.batch_size
            if params.dp_sgd is None and joins_last_row(rows, size):
                left = f"{rows} rows in batches of {size} leave one row"
                control.notes.append(("last_row_joined", f"{left}: the last batch has {size + 1}"))
            if params.keep_optimizer_state and isinstance(trainer, Stateful) and params.round > 1:
                if not self.optimizer_states.restore(trainer, training.job, params):
                    reason = "there is no optimizer state of an earlier round that can be used"
                    control.notes.append(("optimizer_state_reset", reason))
                control.check()
            if terms is not None and isinstance(trainer, UsesLocalTerms):
                trainer.use_local_terms(terms)
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
        loaded = self.loaded.cache.last
        if not training.params.keep_optimizer_state or loaded is None:
            return
        try:
            with contain_exits():
                self.optimizer_states.save(loaded.trainer, training.job, training.params)
        except Exception as error:  # noqa: BLE001 - a full disk, or a fault of a plug-in
            self.optimizer_states.files.remove(training.job)
            control.notes.append(("optimizer_state_lost", describe_error(error)))

    def load_data(self, model: Model, params: TrainingParams) -> LoadedData:
        """Return this agent's data as a model and a job need them.

        Raises:
            FedbusError: The data do not fit the model, or memory does not hold a batch.
        """
        loaded = self.source.for_task(model.spec.input, params.data_overrides)
        check_classes(loaded.form.y.classes, model.spec.classes)
        rows, examples = row_format(loaded.pipeline), loaded.train.examples
        if reason := batch_memory_reason(rows, params, examples, memory_mb()):
            raise TrainingError(reason)
        return loaded


def _check_dp_sgd(loaded: CachedTrainer, data: Dataset, params: TrainingParams) -> None:
    if not isinstance(loaded.trainer, UsesDpSgd):
        raise PrivacyError(
            f"trainer {loaded.name} cannot train with DP-SGD: it has no method check_dp_sgd; the "
            "trainer torch of fedbus can, if the model has an architecture for it"
        )
    loaded.trainer.check_dp_sgd(params, data.examples)


def row_format(pipeline: Pipeline) -> RowFormat:
    """Return the format of the rows that a pipeline gives a trainer."""
    return RowFormat(pipeline.output.plain(), pipeline.max_row_bytes)
