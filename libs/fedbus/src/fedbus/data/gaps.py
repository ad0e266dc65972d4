"""What is said of missing values in tables. Pure."""

from collections.abc import Iterator, Mapping

from fedbus.data.cells import Missing

_SHOWN = 8


def told_gaps(missing: Missing, counts: Mapping[str, int], dropped: int) -> Iterator[str]:
    """Say what became of missing values; `counts` has their number by column."""
    if dropped:
        yield f"{dropped} rows with a missing value are left out"
    if counts and missing not in {None, "drop"}:
        what = "the column's mean" if missing == "mean" else f"{missing:g}"
        told = ", ".join(f"{n} in {name!r}" for name, n in list(counts.items())[:_SHOWN])
        yield f"{sum(counts.values())} missing values became {what} ({told})"
