"""A way of dealing in one word, as command lines have it: `label-quantity:2`, `mixed:4:alpha=0.1`.

Pure: reading it deals nothing.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from fedbus.data.partition import options_of
from fedbus.errors import SettingsError, TrainingError

DEFAULT: Final = "dirichlet:0.3"
"""How the handwritten digits are dealt, unless somebody says otherwise."""


def named(text: str) -> tuple[str, dict[str, Any]]:
    """Read SAMPLER, SAMPLER:VALUE or SAMPLER:NAME=VALUE:…; returns (sampler, its options).

    A value without a name is that of the sampler's first option.

    Raises:
        SettingsError: there is no such sampler, or it takes no such option or value.
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
        raise ValueError(f"{text!r} is no number above 0")
    return number


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no whole number from 0")
    return int(text)


def _classes(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{text!r} is no list of numbers with commas between") from error


def _agents(text: str) -> int | list[int]:
    try:
        # "3," is the third alone.
        return _classes(text.removesuffix(",")) if "," in text else _count(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no whole number from 0, nor some with commas between") from (
            error
        )


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
"""What reads each option of a sampler from a command line; a ValueError says what is wrong."""
