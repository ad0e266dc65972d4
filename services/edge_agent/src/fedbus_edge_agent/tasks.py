"""The tasks an agent has been given: what each waits for. Pure."""

from dataclasses import dataclass, field
from typing import TypeAlias

from fedbus.actions import Key
from fedbus.spool import Spool
from fedbus.wire.messages import EvaluateTask, TrainTask
from fedbus.wire.values import Manifest, ModelRef
from fedbus_edge_agent.work import Flag

MEMORY_FACTOR = 4
"""Of an update's bytes, beside the model's: weights, gradients, new weights, the difference."""

Order: TypeAlias = TrainTask | EvaluateTask


def key_of(order: Order) -> Key:
    """Name a task: training by its number, evaluation by the version."""
    if isinstance(order, TrainTask):
        return "train", order.job, order.task
    return "evaluate", order.job, order.version.version


def too_large(order: TrainTask, memory_mb: int) -> str | None:
    """Say why a model cannot be trained in so much memory; None: it can, or nobody knows."""
    model = order.base.weights.size
    needed = (model + MEMORY_FACTOR * model) // 2**20  # an update is as large as its model
    if not memory_mb or needed <= memory_mb:
        return None
    return f"training needs about {needed} MiB of memory, {memory_mb} are available"


@dataclass(slots=True)
class Task:
    """One order, from its arrival until its work is done."""

    order: Order
    controller: str
    flag: Flag = field(default_factory=Flag)
    fetching: dict[str, tuple[Manifest, Spool]] = field(default_factory=dict)
    failures: int = 0
    pausing: bool = False
    gathered: bool = False

    @property
    def key(self) -> Key:
        """Its name."""
        return key_of(self.order)

    @property
    def ref(self) -> ModelRef:
        """The version to work on."""
        return self.order.base if isinstance(self.order, TrainTask) else self.order.version
