"""Terms that a strategy adds to an agent's own loss. Pure."""

import math
from dataclasses import dataclass, field

import numpy as np

from fedbus.errors import TrainingError
from fedbus.model.layout import Layout, Weights
from fedbus.model.sections import trained_tensors
from fedbus.text import listed


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTerms:
    """Terms of a training's objective, beside the loss.

    They are <linear, w> + proximal / 2 * ||w - base||^2 of the weights w, so the gradient of each
    tensor grows by `linear + proximal * (w - base)`. FedProx has the proximal term, SCAFFOLD the
    linear one, FedDyn both.

    Attributes:
        proximal: At least 0.
        linear: Arrays by tensor name, with the tensor's shape; a tensor without one has no such
            term. Only floating-point tensors of the role `weight` have one.
    """

    proximal: float = 0.0
    linear: Weights = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing is added to the loss."""
        return not self.proximal and not self.linear

    def check(self, layout: Layout) -> None:
        """Raise TrainingError unless the terms fit the trained tensors of a layout."""
        if not (math.isfinite(self.proximal) and self.proximal >= 0):
            raise TrainingError(f"a proximal factor of {self.proximal}; at least 0 is wanted")
        trained = {tensor.name: tensor for tensor in trained_tensors(layout)}
        if unknown := self.linear.keys() - trained.keys():
            raise TrainingError(
                f"linear terms of {listed(unknown)}, which no training changes; the model's "
                f"trained tensors are {listed(trained)}"
            )
        for name, array in self.linear.items():
            if array.shape != trained[name].shape or array.dtype.kind != "f":
                raise TrainingError(
                    f"the linear term of {name!r} is {array.dtype} {array.shape}; floats of shape "
                    f"{trained[name].shape} are wanted"
                )
            if not np.isfinite(array).all():
                raise TrainingError(f"the linear term of {name!r} has values that are not finite")
