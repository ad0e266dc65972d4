"""Steps of `transmitter` and `download` in a job file, each with its parameters. Pure.

Sedna names its transmitter by `name`, with its parameters as a list of keys and values, and writes
its ids with underscores: these are read too.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from fedbus.jobs.field_types import NOT_A_FLAG, JobFileObject, Parameters
from fedbus.limits import MAX_COMPRESSION_STEPS
from fedbus.text import in_given_order, nearest
from fedbus.training.params import Argument

Share = Annotated[float, Field(gt=0, lt=1), NOT_A_FLAG]
Rounds = Annotated[int, Field(ge=1, le=100_000), NOT_A_FLAG]

StepId = Literal[
    "cast",
    "quantize",
    "top-k",
    "random-k",
    "zstandard",
    "simple",
    "adaptive-freezing",
    "adaptive-sync",
]
"""Ids of steps: those that make a blob smaller, then Sedna's transmitters."""


def _whole(value: object) -> object:
    """Read a whole number that is written as text; a flag is no number."""
    if isinstance(value, bool):
        raise PydanticCustomError("flag_for_number", "not a number")
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


class StepOptions(JobFileObject):
    """Parameters of one step."""


class CastOptions(StepOptions):
    """Write each number as float16."""


class QuantizeOptions(StepOptions):
    """Write each number with few bits, rounded at random."""

    bits: Annotated[Literal[4, 8], BeforeValidator(_whole)] = Field(
        default=8, description="Bits of one number: 8 or 4."
    )
    block: Annotated[int, Field(ge=0, le=2**24), NOT_A_FLAG] = Field(
        default=256, description="Numbers that share a scale; 0: all of a tensor do."
    )


class SparseOptions(StepOptions):
    """Send a share of the numbers of an update."""

    fraction: Annotated[float, Field(gt=0, le=1), NOT_A_FLAG] = Field(
        default=0.1, description="Share of all trained numbers that is sent."
    )


class TopKOptions(SparseOptions):
    """Send the numbers of an update with the greatest absolute values."""


class RandomKOptions(SparseOptions):
    """Send numbers of an update that are drawn at random."""


class ZstandardOptions(StepOptions):
    """Compress the bytes without loss."""

    level: Annotated[int, Field(ge=1, le=19), NOT_A_FLAG] = Field(
        default=3, description="Greater is smaller and slower."
    )


class SimpleOptions(StepOptions):
    """Send the update as it is: Sedna's word for no step."""


class FreezingOptions(StepOptions):
    """Do not send parameters that have become stable (Chen et al. 2021)."""

    stability_threshold: Share = Field(
        default=0.05,
        description="A parameter is frozen while its effective perturbation is below this.",
    )
    moving_average: Share = Field(
        default=0.99, description="Weight of the past in the moving averages of differences."
    )
    tight_threshold: Share = Field(
        default=0.8,
        description="The share of frozen parameters from which stability_threshold is halved.",
    )
    random_freezing: bool = Field(
        default=False,
        description=(
            "Whether parameters are also frozen by chance: the later the round, the more of them,"
            " and the longer."
        ),
    )


class SyncOptions(StepOptions):
    """Halve the local epochs between rounds while agents disagree (GIFT, as in Plato)."""

    sync_frequency: Rounds = Field(
        default=10, description="Local epochs of the first rounds, in place of `epochs`."
    )
    window: Rounds = Field(
        default=5,
        description="Rounds without a new minimum of the consistency after which the local epochs "
        "are halved.",
    )
    warm_up: Annotated[int, Field(ge=0, le=100_000), NOT_A_FLAG] = Field(
        default=50, description="Rounds before the first change."
    )


STEP_OPTIONS: Final[Mapping[StepId, type[StepOptions]]] = {
    "cast": CastOptions,
    "quantize": QuantizeOptions,
    "top-k": TopKOptions,
    "random-k": RandomKOptions,
    "zstandard": ZstandardOptions,
    "simple": SimpleOptions,
    "adaptive-freezing": FreezingOptions,
    "adaptive-sync": SyncOptions,
}
"""The parameters of each step, by its id."""

OTHER_STEPS: Final[Mapping[str, str]] = {
    "ws": "all nodes use MQTT: choose simple, or leave transmitter out",
    "s3": "all nodes use MQTT: choose simple, or leave transmitter out",
    "model-deepcopy": "nothing needs it: leave it out",
    "model-compress": "zstandard does it",
    "model-decompress": "receivers reverse the steps by themselves: leave it out",
    "model-dequantize": "receivers reverse the steps by themselves: leave it out",
    "model-dequantize-qsgd": "receivers reverse the steps by themselves: leave it out",
    "model-quantize": "cast writes 16 bits, quantize 8 or 4",
    "model-quantize-qsgd": "quantize does it",
    "unstructured-pruning": "top-k sends the greatest numbers only",
    "structured-pruning": "top-k sends the greatest numbers only",
    "model-encrypt": "privacy-mechanisms.homomorphic encrypts updates",
    "model-decrypt": "privacy-mechanisms.homomorphic encrypts updates",
}
"""Steps of Sedna and Plato that are refused, each with the hint."""


def _own_id(value: object) -> object:
    if not isinstance(value, str):
        return value
    name = value.strip().lower().replace("_", "-")
    if name in OTHER_STEPS:
        raise PydanticCustomError("other_step", "not a step here", {"hint": OTHER_STEPS[name]})
    if name not in STEP_IDS and (near := nearest(name, STEP_IDS)):
        raise PydanticCustomError("other_step", "not a step", {"hint": f"did you mean '{near}'?"})
    return name


def _pairs(value: object) -> object:
    """Read Sedna's list of objects with `key` and `value` as one object."""
    if isinstance(value, list) and all(
        isinstance(each, dict) and each.keys() == {"key", "value"} and isinstance(each["key"], str)
        for each in value
    ):
        return {each["key"]: each["value"] for each in value}
    return value


def _of_step(value: dict[str, Any], info: ValidationInfo) -> dict[str, Argument]:
    """Check the parameters of a step, and fill in their defaults."""
    step: StepId | None = info.data.get("id")
    if step is None:
        return value
    options = STEP_OPTIONS[step]
    takes = in_given_order(options.names()) or "none"
    unknown = PydanticCustomError(
        "unknown_parameter", "unknown parameter", {"hint": f"{step} takes {takes}"}
    )
    if faults := [
        InitErrorDetails(type=unknown, loc=(name,), input=each)
        for name, each in value.items()
        if name not in options.names()
    ]:
        raise ValidationError.from_exception_data("parameters", faults)
    return options.model_validate(value).model_dump()


class StepConfig(JobFileObject):
    """A step, chosen by its id; a bare text is the same without parameters."""

    id: Annotated[StepId, BeforeValidator(_own_id)] = Field(
        description="The step; Sedna's key `name` is read too, and `_` as `-`."
    )
    parameters: Annotated[Parameters, BeforeValidator(_pairs), AfterValidator(_of_step)] = Field(
        default={}, validate_default=True, description="Its parameters: see the table of steps."
    )


def _step(value: object) -> object:
    if isinstance(value, str):
        return {"id": value}
    if isinstance(value, dict) and "id" not in value and isinstance(value.get("name"), str):
        return {("id" if key == "name" else key): each for key, each in value.items()}
    return value


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str | dict) else value


Steps = Annotated[
    tuple[Annotated[StepConfig, BeforeValidator(_step)], ...],
    Field(max_length=MAX_COMPRESSION_STEPS),
    BeforeValidator(_one_or_more),
]
"""Steps in their order; a single one may be written without a list."""

STEP_IDS: Final[tuple[StepId, ...]] = get_args(StepId)
SPARSE: Final = frozenset[StepId]({"top-k", "random-k"})
COMPRESSING: Final = frozenset[StepId]({"cast", "quantize", *SPARSE, "zstandard"})
"""Steps that change a blob; the others change what is trained and sent."""
SELF_CONTAINED: Final = frozenset[StepId]({"cast", "quantize", "zstandard"})
"""Steps whose result can be read without an earlier version."""
