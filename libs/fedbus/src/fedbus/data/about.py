"""What a loader knows of a data set beyond its numbers: names of classes and columns, remarks."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
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


NOTHING = About()
"""For data of which only the numbers are known."""
