"""Domains of arguments: kind, bounds and choices."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from fedbus.training.params import Argument

Kind = Literal["flag", "whole", "real", "word", "wholes", "reals"]

MOST_WHOLE: Final = 2**31 - 1
"""The largest whole number that any argument may be."""

_KINDS: Final[Mapping[Kind, str]] = {
    "flag": "true or false",
    "whole": "a whole number",
    "real": "a number",
    "word": "text",
    "wholes": "whole numbers",
    "reals": "numbers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """The values that an argument may have; bounds hold for each entry of a list.

    Attributes:
        kind: The type of the value.
        least: The smallest value, itself allowed.
        most: The largest value, itself allowed.
        above: A lower bound, itself not allowed.
        below: An upper bound, itself not allowed.
        choices: The words allowed; any when empty.
        each: The domain of each entry, for lists of a fixed length; others have 1 to 256 entries.
        required: Whether a job must give the argument.
    """

    kind: Kind
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    each: "tuple[Domain, ...]" = ()
    required: bool = False

    def fault(self, value: Argument) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        if not self._is_kind(value):
            return f"expected {_KINDS[self.kind]}, got {value!r}"
        if isinstance(value, tuple):
            return self._fault_of_list(value)
        if isinstance(value, str):
            known = ", ".join(self.choices)
            return f"{value!r} is none of {known}" if known and value not in self.choices else ""
        return next((f"expected {bound}, got {value:.10g}" for bound in self._broken(value)), "")

    def __str__(self) -> str:
        """Format for people: `a number, at least 0, less than 1`."""
        if self.choices:
            return f"one of {', '.join(f'`{choice}`' for choice in self.choices)}"
        if self.each:
            return f"{len(self.each)} numbers: {'; '.join(map(str, self.each))}"
        return ", ".join([_KINDS[self.kind], *(sentence for sentence, _ in self._bounds())])

    def _is_kind(self, value: Argument) -> bool:
        match self.kind:
            case "flag":
                return isinstance(value, bool)
            case "whole":
                return _whole(value)
            case "real":
                return _real(value)
            case "word":
                return isinstance(value, str)
            case "wholes":
                return isinstance(value, tuple) and all(map(_whole, value))
            case _:  # reals
                return isinstance(value, tuple) and all(map(_real, value))

    def _fault_of_list(self, values: tuple[float, ...]) -> str:
        if self.each and len(values) != len(self.each):
            return f"expected {len(self.each)} numbers, got {len(values)}"
        if not values:
            return "an empty list"
        domains = self.each or (self,) * len(values)
        broken = (
            f"expected {bound}, got {value:.10g}"
            for domain, value in zip(domains, values, strict=True)
            for bound in domain._broken(value)  # noqa: SLF001 - of the same class
        )
        return next(broken, "")

    def _broken(self, value: float) -> Iterator[str]:
        if isinstance(value, int) and abs(value) > MOST_WHOLE:
            yield f"at most {MOST_WHOLE}"
        yield from (sentence for sentence, holds in self._bounds(value) if not holds)

    def _bounds(self, value: float = 0) -> Iterator[tuple[str, bool]]:
        if self.least is not None:
            yield f"at least {self.least:.10g}", value >= self.least
        if self.above is not None:
            yield f"more than {self.above:.10g}", value > self.above
        if self.most is not None:
            yield f"at most {self.most:.10g}", value <= self.most
        if self.below is not None:
            yield f"less than {self.below:.10g}", value < self.below


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _real(value: object) -> bool:
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))


ArgumentDomains = Mapping[str, Domain]
"""The domains of the arguments of an optimizer, scheduler or loader, by name."""

FLAG: Final = Domain(kind="flag")
REAL: Final = Domain(kind="real")
WORD: Final = Domain(kind="word")
NOT_NEGATIVE: Final = Domain(kind="real", least=0)
POSITIVE: Final = Domain(kind="real", above=0)
FRACTION: Final = Domain(kind="real", least=0, most=1)
DECAY: Final = Domain(kind="real", least=0, below=1)
COUNT: Final = Domain(kind="whole", least=0)
POSITIVE_COUNT: Final = Domain(kind="whole", least=1)
PAIR_OF_DECAYS: Final = Domain(kind="reals", each=(DECAY, DECAY))


def one_of(*choices: str, required: bool = False) -> Domain:
    """Return the domain of these words."""
    return Domain(kind="word", choices=choices, required=required)
