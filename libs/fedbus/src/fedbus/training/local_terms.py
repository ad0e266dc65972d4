"""Terms that a strategy adds to an agent's own loss. Pure."""

from dataclasses import dataclass, field

from fedbus.model.layout import Weights


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
