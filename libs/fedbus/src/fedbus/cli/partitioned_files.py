"""Partition of a data set into one file per agent, for `fedbus data split`."""

import errno
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbus.atomic_write import open_atomic
from fedbus.client.failures import Failed
from fedbus.errors import SettingsError, TrainingError

if TYPE_CHECKING:
    from fedbus.data import Dataset

HELD_OUT = "held_out.npz"
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """Options of a partition: source, sampler and destination."""

    source: str
    to: Path
    agents: int
    by: str
    seed: int
    least: int
    held_out: float
    options: Mapping[str, Any]
    plot: Path | None


def write_split(data: "Dataset", chosen: SplitOptions) -> dict[str, Any]:
    """Partition a data set, write the files and the plot, and return a summary of them.

    Raises:
        TrainingError: the sampler cannot partition these rows, or no row is held out.
        SettingsError: a file cannot be written.
        Failed: the disk is full.
    """
    import numpy as np

    from fedbus.data.partition import WITHOUT_CLASSES, partition_rows
    from fedbus.data.partition.partition_files import labels_of
    from fedbus.data.partition.plot import count, unevenness
    from fedbus.data.partition.row_assignment import hold_out

    y = labels_of(data)
    classed = y.ndim == 1 and y.dtype.kind in "iu"
    if not classed and chosen.by in WITHOUT_CLASSES:
        y = np.zeros(len(y), np.int64)
    rng = np.random.default_rng(chosen.seed)
    kept, held = hold_out(y if y.ndim == 1 else np.zeros(len(y)), chosen.held_out, rng)
    assigned = partition_rows(chosen.by, y[kept], chosen.agents, rng, chosen.least, chosen.options)
    partitions = [kept[partition] for partition in assigned]
    if chosen.held_out and not len(held):
        raise TrainingError(f"--held-out {chosen.held_out} of {len(y)} rows is less than one row")
    names = [f"agent.{number}" for number in range(1, chosen.agents + 1)]
    classes, table = count(y, partitions)
    parts = {f"{name}.npz": partition for name, partition in zip(names, partitions, strict=True)}
    if len(held):
        parts[HELD_OUT] = held
    class_names = [_class_name(label, data.info.classes) for label in classes]
    _write(data, chosen, parts, names, class_names, table)
    return {
        "by": chosen.by,
        "options": dict(chosen.options),
        "seed": chosen.seed,
        "rows": len(y),
        "held_out": len(held),
        "left_over": len(kept) - len(np.unique(np.concatenate(partitions))),
        "classes": classes if classed else None,
        "class_names": class_names if classed and data.info.classes else None,
        "unevenness": unevenness(table) if classed else None,
        "agents": [
            {
                "agent": name,
                "file": str(chosen.to / f"{name}.npz"),
                "rows": len(partition),
                "classes": dict(zip(map(str, classes), counts, strict=True)) if classed else None,
            }
            for name, partition, counts in zip(names, partitions, table.tolist(), strict=True)
        ],
    }


def _class_name(label: int, names: Sequence[str]) -> str:
    return names[label] if 0 <= label < len(names) else str(label)


def _write(data: "Dataset", chosen: SplitOptions, parts: Mapping[str, Any], *drawn: Any) -> None:  # noqa: ANN401 - as `draw` takes it
    from fedbus.data.partition.partition_files import replace_files, write_partitions
    from fedbus.data.partition.plot import draw

    # A plot that cannot be drawn must not delete existing partitions.
    created = [one for one in (chosen.to, *chosen.to.parents) if not one.exists()]
    try:
        with ExitStack() as after, replace_files(chosen.to, _existing(chosen.to)) as staging:
            write_partitions(data, {staging / name: partition for name, partition in parts.items()})
            if chosen.plot is not None:
                title = f"{Path(chosen.source).name} partitioned by {chosen.by}, seed {chosen.seed}"
                # Renamed after the partitions; removed if they fail.
                picture = after.enter_context(open_atomic(chosen.plot))
                picture.write(draw(chosen.plot.suffix.lower(), title, *drawn))
    except OSError as error:
        raised = Failed if error.errno in _DISK_FULL else SettingsError
        raise raised(f"{chosen.plot}: {error.strerror or error}") from error
    except TrainingError as error:
        if isinstance(cause := error.__cause__, OSError) and cause.errno in _DISK_FULL:
            raise Failed(str(error)) from error
        raise
    finally:
        with suppress(OSError):  # a folder with partitions stays
            for folder in created:
                folder.rmdir()


def _existing(folder: Path) -> Sequence[Path]:
    return [*folder.glob("agent.*.npz"), *folder.glob(HELD_OUT)]


def check_free(folder: Path, replace: bool) -> None:
    """Reject a folder that has partitions, unless they are to be replaced."""
    if not replace and (existing := _existing(folder)):
        raise SettingsError(f"{existing[0]} exists; --replace removes existing partitions")
