"""Calls of one part of a strategy: with a time limit, on read-only arrays, with errors named.

The parts that fedbus ships are called directly, on read-only views. Third-party parts are called in
a thread, on copies, within a time limit: they may raise anything, exit, hang or write where they
must not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import PluginError
from fedbus.model.layout import Array
from fedbus.plugins.discovery import error_message
from fedbus.plugins.isolation import call_isolated
from fedbus.plugins.strategy_protocols import Block

PART_TIMEOUT_SECONDS: Final = 60.0
"""Time limit for one call of a third-party part; the shipped ones need milliseconds."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PartCaller:
    """Calls one part of a strategy: `kind` and `name` say in errors which one."""

    kind: str
    name: str
    third_party: bool = False
    seconds: float = PART_TIMEOUT_SECONDS

    def __call__(self, call: Callable[[], T], unchanged: str = "") -> T:
        """Return the result of a call; raise PluginError if it raises, exits or takes too long.

        Args:
            unchanged: The method with its read-only arguments: `apply (base, combined)`.
        """
        try:
            return self._run(call)
        except Exception as error:
            why = error_message(error)
            if unchanged and "read-only" in why:
                method, _, arguments = unchanged.partition(" ")
                why += f"; {method} must not change its arguments {arguments}"
            raise self.error(why) from error

    def converted(self, convert: Callable[[], T], fault: str) -> T:
        """Return a result converted by its own methods, such as `__float__`: they are called alike.

        Raises:
            PluginError: They raised, exited or took too long; it begins with `fault`.
        """
        try:
            return self._run(convert)
        except Exception as error:
            raise self.error(f"{fault}: {error_message(error)}") from error

    def _run(self, call: Callable[[], T]) -> T:
        if self.third_party:
            return call_isolated(f"{self.kind} {self.name}", call, self.seconds)
        return call()

    def error(self, sentence: str) -> PluginError:
        """Return an error that names the part."""
        return PluginError(f"{self.part}: {sentence}")

    @property
    def part(self) -> str:
        """The part in words: `server optimizer 'adam'`."""
        return f"{self.kind} {self.name!r}"

    def given(self, array: Array) -> Array:
        """Return what the part gets for an array: a read-only view, or a copy for third parties."""
        given = array.copy() if self.third_party else array.view()
        given.flags.writeable = False
        return given

    def block(self, result: object, numbers: int, what: str) -> Block:
        """Return a result as float64, shape (numbers,); raise PluginError if it is none."""
        if result is None:
            method = what.removeprefix("the result of ")
            if method == what:
                raise self.error(f"{what} is None; it must be an array")
            raise self.error(f"{method} returned None; it must return an array")
        found = cast("Array", result)
        if type(result) is not np.ndarray:
            found = self.converted(lambda: np.asarray(result), f"{what} is no array of numbers")
        if found.dtype.kind not in "fiu":
            kind = found.dtype.name
            raise self.error(f"{what} has dtype {kind}; expected floating-point or whole numbers")
        if found.shape != (numbers,):
            raise self.error(f"{what} has shape {found.shape}; expected ({numbers},)")
        block = found.astype(np.float64, copy=False)
        if wrong := not_finite(block):
            raise self.error(f"{what} has {wrong} at position {_first_bad(block)}")
        return block

    def number(self, value: object, what: str) -> float:
        """Return a result as a finite float; raise PluginError if it is none."""
        number = cast("float", value)
        if type(value) not in {float, np.float64}:
            number = self.converted(
                lambda: float(value),  # type: ignore[arg-type]  # third-party code returned it
                f"{what} is no number",
            )
        if not np.isfinite(number):
            raise self.error(f"{what} is {number}; expected a finite number")
        return float(number)


def not_finite(block: NDArray[np.float64]) -> str:
    """Return the first NaN or infinity as text; empty if all numbers are finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.add.reduce(block)):
            return ""
    return "" if np.isfinite(block).all() else str(block[_first_bad(block)])


def _first_bad(block: NDArray[np.float64]) -> int:
    return int(np.isfinite(block).argmin())
