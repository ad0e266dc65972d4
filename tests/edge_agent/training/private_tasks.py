"""Private tasks of tests: privacy terms, and mechanisms whose noise is known."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fedbus.errors import TrainingError
from fedbus.model.layout import Weights
from fedbus.plugins import Block, PrivateTraining, PrivateUpdate
from fedbus.training.params import DpSgdParams, PluginChoice, TrainingParams
from fedbus.wire.messages import TrainTask
from fedbus.wire.privacy import PrivacyTerms
from fedbus_edge_agent.training.local_strategy import LocalStrategy, StrategyPlugins

TERMS = PrivacyTerms(
    mechanism="dp-trial", release="gaussian", noise_multiplier=1.0, delta=1e-5, cohort=20
)
LOCAL_TERMS = replace(TERMS, noise="agents", clipping="trusted")
DP_SGD = DpSgdParams(noise_multiplier=1.0, max_grad_norm=1.0, least_examples=32)
EXAMPLE_TERMS = PrivacyTerms(
    mechanism="dp-sgd",
    unit="example",
    release="dp-sgd",
    noise="agents",
    entered="with-plan",
    clipping="trusted",
    noise_multiplier=1.0,
    delta=1e-5,
    cohort=20,
    rate=0.25,
    steps=8,
)


def private(task: TrainTask, terms: PrivacyTerms = TERMS, **changes: Any) -> TrainTask:  # noqa: ANN401 - any field
    """Return a task with privacy terms, and their mechanism as its last transform."""
    last = PluginChoice(id=terms.mechanism)
    params = replace(task.params, update_transforms=(*task.params.update_transforms, last))
    return replace(task, privacy=terms, params=params, **changes)


def with_dp_sgd(task: TrainTask, **changes: Any) -> TrainTask:  # noqa: ANN401 - any field
    """Return a task that trains with DP-SGD as its terms say: 8 steps, each of a quarter."""
    params: TrainingParams = replace(task.params, batch_size=8, epochs=2, dp_sgd=DP_SGD)
    return replace(task, privacy=EXAMPLE_TERMS, params=replace(params, **changes))


class Count:
    """A source of noise that is known: it counts 1, 2, 3 and so on."""

    def __init__(self, first: int = 1) -> None:
        self.next = first

    def normals(self, count: int, /) -> Block:
        self.next += count
        return np.arange(self.next - count, self.next, dtype=np.float64)

    def uniforms(self, count: int, /) -> Block:
        return np.full(count, 0.5)


@dataclass
class ClipAndCount:
    """Clips to a norm, and adds its noise to each number; with a norm bit if it is asked to."""

    norm: float = 1.0
    bit: float | None = None
    seen: PrivateTraining | None = None

    def protect(self, update: Weights, training: PrivateTraining, /) -> PrivateUpdate:
        self.seen = training
        length = float(np.sqrt(sum(np.square(a, dtype=np.float64).sum() for a in update.values())))
        if not np.isfinite(length):
            raise TrainingError(f"the norm is {length}")
        factor = min(1.0, self.norm / length) if length else 1.0
        made = {
            name: (array * factor + training.noise.normals(array.size).reshape(array.shape)).astype(
                array.dtype
            )
            for name, array in update.items()
        }
        return PrivateUpdate(update=made, norm_bit=self.bit)


@dataclass(frozen=True, slots=True)
class FixedParts(StrategyPlugins):
    """Plug-ins that are always the same parts, without discovery."""

    parts: LocalStrategy = field(default_factory=LocalStrategy)

    def load(self, params: TrainingParams, privacy: PrivacyTerms | None = None) -> LocalStrategy:  # noqa: ARG002 - the same for all
        return self.parts
