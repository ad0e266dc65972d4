"""Records that cannot be read: edited by hand, or damaged on their disk. Pure.

Whatever reads a record relies on its fields, so damage shows as an error of any kind wherever a
decision looks at it. At the edge of an operation it becomes one error with a sentence, so that a
user gets an answer and an operator is told what to do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from fedbus.errors import StoreDamagedError, WireError

T = TypeVar("T")

_DAMAGE = (WireError, LookupError, TypeError, ValueError, AttributeError, AssertionError)


class DamagedRecordError(StoreDamagedError):
    """A record lacks a field, has one of another type, or content that cannot be read."""


@dataclass(frozen=True, slots=True)
class DamagedModel:
    """What stands for records of a model that cannot be read, beside those of other models.

    The error itself would keep the cursor that it was raised in, and so SQLite's read transaction.
    """

    reason: str


@contextmanager
def damage_as_store_errors(operation: str, place: str) -> Iterator[None]:
    """Raise DamagedRecordError for errors that reading a damaged record raises in the block."""
    try:
        yield
    except _DAMAGE as error:
        raise DamagedRecordError(
            f"{operation}: a record in {place} is damaged ({type(error).__name__}: {error});"
            " `fedbus store check` names it, and `fedbus store restore` brings a backup back"
        ) from error


def of_type(kind: type[T], value: Any, what: str) -> T:  # noqa: ANN401 - of a record
    """Return a value of a record; raise TypeError unless it is of this type."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{what}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def number_of(value: Any, what: str) -> float:  # noqa: ANN401 - of a record
    """Return a number of a record; raise TypeError unless it is one."""
    return value if isinstance(value, float) else of_type(int, value, what)
