"""Evaluation with this machine's trainer plug-ins; runs in the training thread."""

from fedbus.encryption.key_files import SecretKey
from fedbus.energy.energy_meter import EnergyMeter
from fedbus.errors import PluginError
from fedbus.model.blob import decode
from fedbus.model.blob_header import Blob
from fedbus.plugins import Evaluates
from fedbus.wire.messages import EvaluateTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.checks import checked_metrics
from fedbus_edge_agent.training.errors import contain_exits
from fedbus_edge_agent.training.local_tensors import LocalTensors
from fedbus_edge_agent.training.measured_tasks import is_measured
from fedbus_edge_agent.training.readable_version import readable_version
from fedbus_edge_agent.training.task_runner import EvaluationResult, Model
from fedbus_edge_agent.training.weights_trainer import WeightsTrainer

_AFTER_ALL_ROUNDS = 2**31
"""Larger than any round number: an evaluation uses the newest local tensors."""


class LocalEvaluation:
    """Evaluates on the data of `weights_trainer`; for the other arguments see `LocalTrainer`."""

    def __init__(
        self,
        weights_trainer: WeightsTrainer,
        local_tensors: LocalTensors,
        encryption_key: SecretKey | None,
        meter: EnergyMeter,
    ) -> None:
        self._weights_trainer = weights_trainer
        self._local_tensors = local_tensors
        self._encryption_key = encryption_key
        self._meter = meter

    def evaluate(
        self, task: EvaluateTask, model: Model, weights: Blob, control: TaskControl
    ) -> EvaluationResult:
        """Compute the metrics of a version; raise as `LocalTrainer.evaluate`."""
        control.begin()
        with self._meter.working("evaluation", measured=is_measured(task)) as work:
            examples, metrics = self._evaluated(task, model, weights, control)
            energy = work.used(task.version.weights.size)
        return EvaluationResult(examples, metrics, energy)

    def _evaluated(
        self, task: EvaluateTask, model: Model, weights: Blob, control: TaskControl
    ) -> tuple[int, dict[str, float]]:
        weights = readable_version(task.version.whole, model, weights, self._encryption_key)
        with contain_exits():
            data = control.watch(self._weights_trainer.load_data(model, task.params).test)
        arrays = decode(weights, model.layout, "plain")
        merged = self._local_tensors.merge_into(arrays, model.layout, task.job, _AFTER_ALL_ROUNDS)
        with contain_exits(), self._weights_trainer.loaded.use(model, task.trainer) as loaded:
            trainer = loaded.trainer
            if not isinstance(trainer, Evaluates):
                raise PluginError(f"{type(trainer).__name__} cannot evaluate")
            control.check()
            metrics = trainer.evaluate(merged or arrays, data, task.params)
        return data.examples, checked_metrics(metrics)
