"""Data of a simulated job: a partition for each agent, and the held-out part."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbus.cli.output import display
from fedbus.cluster.partitions import (
    ANYTHING,
    ARRAYS,
    HELD_OUT,
    left_out,
    partition_names,
    partition_paths,
    write_digits,
)
from fedbus.data import Dataset
from fedbus.datasource.config import read
from fedbus.errors import SettingsError
from fedbus.jobs import JobFile


def read_partitions(
    job: JobFile,
    given: Path | None,
    folder: Path,
    agents: int | None,
    split: str | None,
    options: Mapping[str, Any],
) -> tuple[Mapping[str, Dataset | Path], Dataset | Path]:
    """Return the agents' partitions and the held-out part; paths if the job names a loader.

    Without the folder `given`, the digits are partitioned and written to `folder`.

    Raises:
        SettingsError: there are fewer agents than the job's quorum, or no files for its loader.
    """
    count, loader = agents or job.round.agents, job.plugins.loader
    if loader is not None:
        if given is None:
            raise SettingsError(
                f"the job's loader {loader!r} reads files: name their folder with --data, or drop "
                "plugins.loader"
            )
        paths, held_out = partition_paths(given, count)
        _warn_unused(given, count, ANYTHING)
        _check_quorum(job, len(paths))
        return paths, held_out
    if given is None:
        write_digits(folder, count, split)
        names = [str(number) for number in range(1, count + 1)]
    else:
        folder, names = given, partition_names(given, count)
        _warn_unused(given, count, ARRAYS)
    _check_quorum(job, len(names))
    partitions = {name: read(folder / f"agent.{name}.npz", "npz", options) for name in names}
    return partitions, read(folder / HELD_OUT, "npz", options)


def _check_quorum(job: JobFile, agents: int) -> None:
    if agents < job.round.quorum:
        raise SettingsError(
            f"expected at least {job.round.quorum} agents, the job's round.quorum, got {agents}; "
            "raise --agents or lower round.quorum"
        )


def _warn_unused(folder: Path, agents: int, named: str) -> None:
    if warning := left_out(folder, agents, named):
        display.warn(warning)
