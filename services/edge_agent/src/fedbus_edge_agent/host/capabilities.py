"""Capabilities of this machine, measured without the import of a framework."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from fedbus.frameworks.installed import versions
from fedbus.wire.documents import AgentFacts

ROOT = Path("/")
CGROUPS = (
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
Role = Literal["train", "evaluate"]


def memory_mb(root: Path = ROOT) -> int:
    """Return the memory that a process may still allocate, in MiB; 0 if it is unknown.

    That is the machine's available memory, or that of the process's cgroup if it is less.
    """
    free = [_machine_memory_mb(root)]
    for limit, used in CGROUPS:
        with suppress(OSError, ValueError):  # not this cgroup version, or no limit ("max")
            free.append((_number(root / limit) - _number(root / used)) // 2**20)
    return max(0, min((each for each in free if each is not None), default=0))


def _machine_memory_mb(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None  # not Linux
    return next(
        (int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:")), None
    )


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def free_storage(folder: Path) -> int:
    """Return the free bytes of the disk on which a folder is, or will be created."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def gpu(root: Path = ROOT) -> bool:
    """Return whether an NVIDIA device is visible; only a framework knows whether it is usable."""
    return (root / "dev/nvidia0").exists()


def measure(  # noqa: PLR0913, PLR0917 - one argument for each value that differs between agents
    roles: Sequence[Role],
    examples: int,
    data_format: dict[str, Any],
    folder: Path,
    task: str,
    models: dict[str, int],
    trainers: Sequence[str] = (),
    loaders: Sequence[str] = (),
    transforms: Sequence[str] = (),
) -> AgentFacts:
    """Measure the machine and return an agent's facts.

    Args:
        examples: Number of rows to train on.
        folder: Where the agent stores files.
        models: Bytes of files of each cached model, by name.
        trainers: Names that a job may choose here, as are `loaders` and `transforms`.
    """
    return AgentFacts(
        roles=tuple(roles),
        examples=examples,
        cores=len(os.sched_getaffinity(0)),
        memory_mb=memory_mb(),
        storage_mb=free_storage(folder) // 2**20,
        gpu=gpu(),
        frameworks=versions(),
        models=models,
        format=data_format,
        task=task,
        trainers=tuple(trainers),
        loaders=tuple(loaders),
        transforms=tuple(transforms),
    )
