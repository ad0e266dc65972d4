"""Chain of compression steps: read from a job's choices, in the order that they compose in. Pure.

At most one step chooses numbers, at most one writes them in fewer bits, and zstandard is last.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fedbus.compression.cast import Float16Numbers
from fedbus.compression.number_coding import NumberCoding, OwnDtype
from fedbus.compression.number_selection import NumberSelection
from fedbus.compression.quantize import Quantize
from fedbus.compression.random_k import RandomK
from fedbus.compression.top_k import TopK
from fedbus.compression.zstandard_frame import GREATEST_LEVEL, check_zstandard
from fedbus.errors import PluginError
from fedbus.training.params import PluginChoice

CompressionParameter = bool | int | float | str | tuple[int | float, ...]

STEP_PARAMETERS: Final[Mapping[str, Mapping[str, int | float]]] = {
    "top-k": {"fraction": 0.1},
    "random-k": {"fraction": 0.1},
    "cast": {},
    "quantize": {"bits": 8, "block": 256},
    "zstandard": {"level": 3},
}
"""The steps, in the order in which they may follow each other, with their parameters' defaults."""

_GREATEST_BLOCK: Final = 2**24
_OWN_DTYPE: Final = OwnDtype()


@dataclass(frozen=True, slots=True)
class Chain:
    """Checked steps.

    Attributes:
        steps: Each with all its parameters, defaults included, as the header of a blob names them.
        selection: What chooses numbers; None: all are sent.
        coding: What writes them.
        level: That of zstandard; None: the bytes stay as they are.
    """

    steps: tuple[PluginChoice, ...] = ()
    selection: NumberSelection | None = None
    coding: NumberCoding = _OWN_DTYPE
    level: int | None = None

    def check_installed(self) -> None:
        """Raise PluginError if a package is missing that a step needs."""
        if self.level is not None:
            check_zstandard()


def loses_numbers(steps: Sequence[PluginChoice]) -> bool:
    """Return whether steps lose anything, which is then left to send later; checks nothing."""
    return any(step.id != "zstandard" for step in steps)


def chain_of(steps: Sequence[PluginChoice]) -> Chain:
    """Read steps.

    Raises:
        PluginError: A step or a parameter is unknown or out of range, or a step cannot follow the
            one before it.
    """
    chain, before = Chain(), ""
    for step in steps:
        parameters = _parameters(step)
        kind, make = _KINDS[step.id]
        if before and _ORDER.index(kind) <= _ORDER.index(_KINDS[before][0]):
            raise PluginError(
                f"compression step {step.id!r} after {before!r}: numbers are chosen first (top-k "
                "or random-k), then written in fewer bits (quantize or cast), then zstandard; one "
                "step of each kind"
            )
        made = replace(step, parameters=parameters)
        chain = replace(chain, **{kind: make(parameters)}, steps=(*chain.steps, made))
        before = step.id
    return chain


_ORDER: Final = ("selection", "coding", "level")


def _parameters(step: PluginChoice) -> dict[str, CompressionParameter]:
    defaults = STEP_PARAMETERS.get(step.id)
    if defaults is None:
        raise PluginError(
            f"no compression step {step.id!r}; there are {', '.join(STEP_PARAMETERS)}"
        )
    if unknown := sorted(step.parameters.keys() - defaults.keys()):
        raise PluginError(f"compression step {step.id!r} has no parameter {unknown[0]!r}")
    return {**defaults, **step.parameters}


def _top_k(given: Mapping[str, Any]) -> TopK:
    return TopK(_fraction("top-k", given))


def _random_k(given: Mapping[str, Any]) -> RandomK:
    return RandomK(_fraction("random-k", given))


def _fraction(step: str, given: Mapping[str, Any]) -> float:
    value = given["fraction"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise PluginError(f"{step}: fraction is above 0 and at most 1, not {value!r}")
    return float(value)


def _cast(given: Mapping[str, Any]) -> Float16Numbers:  # noqa: ARG001 - it has no parameters
    return Float16Numbers()


def _quantize(given: Mapping[str, Any]) -> Quantize:
    bits, block = given["bits"], given["block"]
    if type(bits) is not int or bits not in {4, 8}:
        raise PluginError(f"quantize: bits is 8 or 4, not {bits!r}")
    return Quantize(bits, _whole("quantize", "block", block, 0, _GREATEST_BLOCK))


def _level(given: Mapping[str, Any]) -> int:
    return _whole("zstandard", "level", given["level"], 1, GREATEST_LEVEL)


def _whole(step: str, name: str, value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise PluginError(f"{step}: {name} is a whole number from {least} to {most}, not {value!r}")
    return value


_KINDS: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any]]]] = {
    "top-k": ("selection", _top_k),
    "random-k": ("selection", _random_k),
    "cast": ("coding", _cast),
    "quantize": ("coding", _quantize),
    "zstandard": ("level", _level),
}
