"""Measurement and output for benchmarks: /proc, medians, tables, JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

MB = 1e6
MIB = 2**20


def peak_mb(pid: int) -> float:
    """Return the peak resident memory of a process, in MB of 1e6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) * 1024 / MB, 1)
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its threads, in seconds."""
    nanoseconds = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # the thread has ended
            nanoseconds += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
    return nanoseconds / 1e9


def middle(values: Sequence[float], digits: int = 4) -> float:
    """Return the rounded median; 0 if there are no values."""
    return round(median(values), digits) if values else 0.0


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Format rows as a table with the columns of all rows; a single row vertically."""
    if len(rows) == 1:
        width = max(len(name) for name in rows[0])
        return "\n".join(f"{name.ljust(width)}  {figure}" for name, figure in rows[0].items())
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns, *([str(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def publish(
    result: Mapping[str, Any], rows: Sequence[Mapping[str, object]], to: str | None
) -> None:
    """Print the rows as a table, and write the whole result as JSON if a path is given."""
    print(table(rows), flush=True)
    if to == "-":
        json.dump(result, sys.stdout, indent=2)
        print()
    elif to is not None:
        Path(to).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
