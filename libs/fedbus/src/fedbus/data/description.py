"""What a loader knows of a data set beyond its numbers: names of classes and columns, remarks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedbus.errors import TrainingError


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """Names and remarks that go with a data set.

    Attributes:
        classes: The names of the classes in y, in the order of their numbers; empty: y holds plain
            numbers.
        columns: The names of the inputs, in their order; empty: inputs have no names.
        missing: Missing values by column, where the loader was told what to do about them.
        notes: What the owner should know: what was left out, what was assumed.
    """

    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that cannot be announced.

        Raises:
            TrainingError: one is no text: a folder's name of another encoding, say.
        """
        for name in (*self.classes, *self.columns):
            if utf8(name) != name:
                raise TrainingError(
                    f"the name {utf8(name)!r} is not in UTF-8; rename the class or the column"
                )


def utf8(text: str) -> str:
    """Write a text so that it can be sent: file names may hold bytes that are no UTF-8."""
    return text.encode(errors="backslashreplace").decode()


NOTHING = DatasetInfo()
"""For data of which only the numbers are known."""
