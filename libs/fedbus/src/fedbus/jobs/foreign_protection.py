"""Flower's parameters of SecAgg+ in `privacy-mechanisms.secure-aggregation`, read or refused. Pure.

A share of an agent stays with the agent itself, so Flower's `num_shares` is one more than the
neighbours.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from fedbus.jobs.field_types import number_of
from fedbus.jobs.key_translation import ForeignKey, Translation
from fedbus.wire.job_faults import show
from fedbus.wire.json_reader import InvalidValue

_PLACE: Final = ("privacy-mechanisms", "secure-aggregation")
_KEY: Final = ".".join(_PLACE)

FLOWER_PROTECTION_KEYS: Final[Mapping[str, ForeignKey]] = {
    "num_shares": ForeignKey(
        f"{_KEY}.neighbours", "One less, a whole number; Flower's share of all agents is refused."
    ),
    "reconstruction_threshold": ForeignKey(
        f"{_KEY}.threshold", "A share, or a whole number, which is divided by `num_shares`."
    ),
    "clipping_range": ForeignKey(
        f"{_KEY}.first_range", "Of the differences of an update, not of weights as in Flower."
    ),
    "quantization_range": ForeignKey(f"{_KEY}.bits", "Its logarithm to base 2, rounded up."),
    "max_weight": ForeignKey(f"{_KEY}.max_examples", "Rounded down."),
    "timeout": ForeignKey(f"{_KEY}.step_seconds"),
    "modulus_range": ForeignKey(
        note="It follows from `bits` and `round.agents`, so that no sum overflows."
    ),
}
"""Keys of `privacy-mechanisms.secure-aggregation` as Flower names them."""


def translate_protection(done: Translation) -> None:
    """Translate Flower's keys of secure aggregation."""
    mechanisms = done.tree.get(_PLACE[0])
    config = mechanisms.get(_PLACE[1]) if isinstance(mechanisms, dict) else None
    if not isinstance(mechanisms, dict) or not isinstance(config, dict):
        return
    words = {word: config[word] for word in FLOWER_PROTECTION_KEYS if word in config}
    left = {word: value for word, value in config.items() if word not in words}
    done.tree[_PLACE[0]] = {**mechanisms, _PLACE[1]: left}
    for word, value in words.items():
        if value is not None and not isinstance(value, InvalidValue):
            _translate(done, word, value, number_of(words.get("num_shares")))


def _translate(done: Translation, word: str, value: object, shares: float | None) -> None:
    origin = f"{_KEY}.{word}"
    if word == "modulus_range":
        problem = "it follows from bits and round.agents, so that no sum overflows"
        done.refuse(origin, problem, "leave it out")
        return
    number = number_of(value)
    if number is None or number <= 0:
        done.refuse(origin, f"expected a number above 0, got {show(value)}", "")
        return
    found = _value(word, value, number, shares)
    if isinstance(found, str):
        done.refuse(origin, f"{show(value)}, {found}", "give neighbours and threshold")
        return
    done.set((*_PLACE, FLOWER_PROTECTION_KEYS[word].to.rpartition(".")[2]), found, origin)


def _value(word: str, value: object, number: float, shares: float | None) -> float | str:
    """Return the value of the key here, or why there is none."""
    match word:
        case "num_shares" if _is_share(value, number):
            return "a share of an unknown number of agents"
        case "num_shares":
            return int(number) - 1
        case "reconstruction_threshold":
            return _threshold(value, number, shares)
        case "quantization_range":
            return math.ceil(math.log2(number))
        case "max_weight":
            return math.floor(number)
        case _:
            return number


def _threshold(value: object, number: float, shares: float | None) -> float | str:
    if _is_share(value, number):
        return number
    return number / shares if shares else "and num_shares does not say of how many shares"


def _is_share(value: Any, number: float) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether a number is Flower's share: a float, and not a whole number."""
    return number < 1 or (isinstance(value, float) and number == 1) or not number.is_integer()
