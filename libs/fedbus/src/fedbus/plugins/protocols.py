"""Plug-in protocols, one for each kind of plug-in: models, loaders, transforms, selectors.

Those of trainers and runtimes are in `trainer_protocols.py`, those of a strategy's parts in
`strategy_protocols.py`, `objective_protocols.py` and `privacy_protocols.py`.

A plug-in inherits from nothing. mypy compares it with these protocols, `fedbus plugins` compares
its signatures, and `fedbus plugins check NAME` calls it.

In shapes, `rows` is the number of examples in a batch and … any further dimensions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from fedbus.data import Batch, Dataset, Format

if TYPE_CHECKING:
    import numpy as np


class ModelFactory(Protocol):
    """Builds a model by name for the trainers `torch` and `keras`, which then load its weights.

    A spec whose architecture is `{"name": "lenet", "config": {"classes": 10}}` is built by the
    model plug-in `lenet`.
    """

    def __call__(self, config: Mapping[str, Any], /) -> object:
        """Build an untrained `torch.nn.Module` or `keras.Model`.

        The config came over the network: check it, sizes included, before allocating anything.

        Raises:
            TrainingError: The config is not one that this model accepts.
        """
        ...


Loader = Callable[..., Dataset]
"""Reads a data set: a path, then options. Both come from the agent's settings, never from a job."""


class Transform(Protocol):
    """A step of an agent's pipeline, between its loader and its trainer.

    Its entry point names a factory, called with the step's parameters: `Resize(size=[28, 28])`. A
    transform with the attribute `augments = True` is applied in training and not in evaluation, and
    one with `targets_only = True` changes y alone: inference leaves it out.
    """

    def transform_data(self, batch: Batch, rng: "np.random.Generator", /) -> Batch:
        """Transform a batch into new arrays.

        Args:
            batch: x and y, each of shape (rows, …); the result has as many rows.
            rng: The only source of chance; seeded by the task.

        Raises:
            TrainingError: The batch does not have a format that this transform accepts.
        """
        ...

    def transform_format(self, form: Format, /) -> Format:
        """Return the format (kind, size, dtype, range) that rows of a given format will have.

        Raises:
            TrainingError: This transform does not accept rows of the given format.
        """
        ...


TransformFactory = Callable[..., Transform]
"""What a transform's entry point names, usually its class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """Facts about an agent that is online and eligible, for a selector."""

    agent: str
    """The node's name, `agent.…`."""
    last_selected: int = 0
    """The last round of this job in which the agent was asked; 0: none yet."""
    examples: int = 0
    """Examples that the agent can train on."""
    load: float = 0.0
    """Load average of the last minute, divided by the number of cores."""


class Selector(Protocol):
    """Selects the cohort of a round."""

    def __call__(self, agents: Sequence[AgentInfo], want: int, rng: Random, /) -> Sequence[str]:
        """Return the names of at most `want` different agents; chance comes from `rng` alone."""
        ...
