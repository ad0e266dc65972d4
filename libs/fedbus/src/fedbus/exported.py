"""What is left of somebody's own model when it is made ready for agents: data, no code."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedbus.layout import Role, Weights
from fedbus.training import Structure


@dataclass(frozen=True, slots=True)
class Exported:
    """The parts of a model's card.

    Attributes:
        structures: By the trainer's name. A `"blob"` in one is the name of one of `files`.
        weights: Its first weights, in the layout's order.
        files: What structures need beside, by name.
        input: The shape of one row it takes; None if the model does not say.
        roles: Of tensors that are no plain weights, by name.
    """

    structures: Mapping[str, Structure]
    weights: Weights
    files: Mapping[str, bytes] = field(default_factory=dict)
    input: tuple[int, ...] | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
