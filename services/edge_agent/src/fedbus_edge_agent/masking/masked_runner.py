"""Interface between the core and what trains for masked tasks."""

from typing import Protocol, runtime_checkable

from fedbus.model.blob_header import Blob
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.masking.unmasked_update import UnmaskedUpdate
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.task_runner import NO_STRATEGY_BLOBS, Model, StrategyBlobs


@runtime_checkable
class MaskedRunner(Protocol):
    """Trains for masked tasks; called in the training thread. Errors are those of `TaskRunner`."""

    def train_to_mask(
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        control: TaskControl,
        strategy: StrategyBlobs = NO_STRATEGY_BLOBS,
    ) -> UnmaskedUpdate:
        """Train from the base version, and return the update, which is written nowhere."""
        ...
