"""Description of a data set beyond its numbers: names of classes and columns, notes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedbus.errors import TrainingError


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """Names and notes of a data set.

    Attributes:
        classes: Names of the classes in y, in the order of their numbers; empty: y holds numbers.
        columns: Names of the inputs, in order; empty: inputs have no names.
        missing: Number of missing values by column, where the option `missing` is set.
        notes: Sentences for the owner: what was left out or assumed.
    """

    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise TrainingError for names that are not UTF-8, which cannot be announced."""
        for name in (*self.classes, *self.columns):
            if utf8(name) != name:
                raise TrainingError(
                    f"the name {utf8(name)!r} is not in UTF-8; rename the class or the column"
                )


def utf8(text: str) -> str:
    """Escape what is not UTF-8, as file names may contain, so that a text can be sent."""
    return text.encode(errors="backslashreplace").decode()


NO_INFO = DatasetInfo()
"""Of data without names and notes."""
