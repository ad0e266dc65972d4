"""Notes on missing values in tables. Pure."""

from collections.abc import Collection, Iterator, Mapping

from fedbus.data.cells import Missing
from fedbus.text import counted

_SHOWN = 8


def missing_value_notes(
    missing: Missing, counts: Mapping[str, int], dropped: int, words: Collection[str] = ()
) -> Iterator[str]:
    """Yield sentences on how missing values were treated.

    `counts` has their number by column; `words` are the columns of words.
    """
    if dropped:
        verb = "is" if dropped == 1 else "are"
        yield f"{counted(dropped, 'row')} with a missing value {verb} left out"
    if missing in {None, "drop"}:
        return
    mean = "the column's mean" if missing == "mean" else f"{missing:g}"
    for what, chosen in (
        (mean, {name: n for name, n in counts.items() if name not in words}),
        ("no word", {name: n for name, n in counts.items() if name in words}),
    ):
        listed = ", ".join(f"{n} in {name!r}" for name, n in list(chosen.items())[:_SHOWN])
        if listed:
            yield f"{counted(sum(chosen.values()), 'missing value')} became {what} ({listed})"
