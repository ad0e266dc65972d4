"""Interface between the core and what computes features and trains on them."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from fedbus.blobs.spool import Spool
from fedbus.model.blob_header import Blob
from fedbus.wire.messages import FeatureTask, TrainTask
from fedbus_edge_agent.mistnet.feature_answers import NewFeatures
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.task_runner import Model, TrainingResult


@runtime_checkable
class FeatureRunner(Protocol):
    """A task runner that can take part in MistNet jobs; called in the training thread.

    Both methods raise `FedbusError` if the task fails and `Stopped` if it was cancelled.
    """

    def make_features(
        self, task: FeatureTask, model: Model, base: Blob, control: TaskControl
    ) -> NewFeatures:
        """Compute, randomize and store the features of this agent's examples."""

    def train_on_features(  # noqa: PLR0913, PLR0917 - those of `TaskRunner.train`, and the features
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        control: TaskControl,
        state: Blob | None,
        spools: Sequence[Spool | None],
    ) -> TrainingResult:
        """Train the layers after the cut on the features of others; as `TaskRunner.train`.

        `spools` are the features that have arrived, in the task's order; None: on the disk.
        """
