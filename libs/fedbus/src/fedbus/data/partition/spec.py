"""Sampler and options in one argument: `label-quantity:2`, `mixed:4:alpha=0.1`. Pure."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from fedbus.data.partition import options_of
from fedbus.errors import SettingsError, TrainingError

DEFAULT: Final = "dirichlet:0.3"
"""The default for the handwritten digits."""


def parse_split(text: str) -> tuple[str, dict[str, Any]]:
    """Parse SAMPLER, SAMPLER:VALUE or SAMPLER:NAME=VALUE:…; return the sampler and its options.

    A value without a name is the value of the sampler's first option.

    Raises:
        SettingsError: the sampler, an option or a value is unknown.
    """
    by, *words = text.split(":")
    try:
        known = options_of(by)
    except TrainingError as error:
        raise SettingsError(f"split {text!r}: {error}") from error
    options: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.rpartition("=")
        name = name.replace("-", "_") if equals else "".join(known[:1])
        if name not in known:
            takes = ", ".join(known).replace("_", "-") or "none"
            raise SettingsError(f"split {text!r}: {by} takes no {word!r}; its options: {takes}")
        if name in options:
            raise SettingsError(f"split {text!r}: {name.replace('_', '-')} is given twice")
        try:
            options[name] = READERS[name](value)
        except ValueError as error:
            raise SettingsError(f"split {text!r}: {name.replace('_', '-')}: {error}") from error
    return by, options


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"expected a number above 0, got {text!r}")
    return number


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def _classes(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ValueError(f"expected numbers separated by commas, got {text!r}") from error


def _agents(text: str) -> int | list[int]:
    try:
        # "3," is the third one only.
        return _classes(text.removesuffix(",")) if "," in text else _count(text)
    except ValueError as error:
        raise ValueError(
            f"expected a whole number from 0, or some separated by commas, got {text!r}"
        ) from error


def _institutions(text: str) -> int | list[list[int]]:
    if text.isascii() and text.isdigit():
        return int(text)
    return [_classes(group) for group in text.split(";")]


READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "alpha": _above_zero,
    "size_alpha": _above_zero,
    "shards_per_agent": _count,
    "classes_per_agent": _count,
    "anchor_classes": _classes,
    "consistent": _count,
    "keep_anchor": _count,
    "non_iid": _agents,
    "partition_size": _count,
    "institutions": _institutions,
}
"""Parsers of the options; each raises ValueError with the expected value."""
