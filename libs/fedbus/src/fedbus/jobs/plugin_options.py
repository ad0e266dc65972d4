"""Options of a job file that choose plug-ins: a strategy and its parts, and the others by name."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from fedbus.jobs.field_types import NOT_A_FLAG, JobFileObject, Name, Parameters
from fedbus.limits import MAX_TRANSFORMS


def choice_of_text(value: object) -> object:
    """Read a bare text as the id of a plug-in without parameters."""
    return {"id": value} if isinstance(value, str) else value


class ChoiceConfig(JobFileObject):
    """A plug-in, chosen by its id; a bare text is the same without parameters."""

    id: Name = Field(description="The plug-in.")
    parameters: Parameters = Field(
        default={}, description="Its arguments: numbers, text, flags, lists of numbers."
    )


Choice = Annotated[ChoiceConfig, BeforeValidator(choice_of_text)]


class StrategyConfig(JobFileObject):
    """How updates become the next version; a bare text is the `id`. Specific to fedbus."""

    id: Name = Field(default="fedavg", description="A strategy, or an aggregator alone.")
    parameters: Parameters = Field(
        default={}, description="Arguments of the strategy's parts, by name."
    )
    aggregator: Choice | None = Field(
        default=None, description="Replaces the aggregator of the strategy."
    )
    server_optimizer: Choice | None = Field(
        default=None, description="Replaces the server optimizer of the strategy."
    )
    objective: Choice | None = Field(
        default=None, description="Replaces what the strategy adds to the loss of agents."
    )
    update_transforms: Annotated[tuple[Choice, ...], Field(max_length=MAX_TRANSFORMS)] = Field(
        default=(), description="Changes of updates, in this order."
    )
    population: Annotated[int, Field(ge=1, le=2**31), NOT_A_FLAG] | None = Field(
        default=None,
        description="Number of agents that may take part in the job; FedDyn, SCAFFOLD and Poisson "
        "sampling need it.",
    )
    continue_state: bool = Field(
        default=False,
        description="Whether the job continues the strategy's state of the latest version, which "
        "a job with the same strategy and parameters made.",
    )


class Plugins(JobFileObject):
    """Plug-ins chosen by name; the node that uses one must allow it. Specific to fedbus."""

    selector: Name = "uniform"
    trainer: Name | None = Field(default=None, description="The agent's choice if left out.")
    loader: Name | None = Field(
        default=None,
        description="The loader of an agent's data; the agent's choice if left out.",
    )
    transforms: Annotated[tuple[Choice, ...], Field(max_length=MAX_TRANSFORMS)] = Field(
        default=(),
        description="Transforms of rows after the agent's own pipeline, in this order.",
    )
