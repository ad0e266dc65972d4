"""Capabilities of this machine, measured without importing any framework."""

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
    """Measure the memory a process may still take, MiB; 0: nobody knows.

    That is the machine's, or its cgroup's if it is less.
    """
    free = [_of_machine(root)]
    for limit, used in CGROUPS:
        with suppress(OSError, ValueError):  # not this cgroup version, or no limit ("max")
            free.append((_number(root / limit) - _number(root / used)) // 2**20)
    return max(0, min((each for each in free if each is not None), default=0))


def _of_machine(root: Path) -> int | None:
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
    """Measure the free bytes where a folder is, or will be."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def gpu(root: Path = ROOT) -> bool:
    """Say whether an NVIDIA device is visible; whether it can be used, a framework knows."""
    return (root / "dev/nvidia0").exists()


def measure(  # noqa: PLR0913, PLR0917 - one argument for each thing that differs between agents
    roles: Sequence[Role],
    examples: int,
    form: dict[str, Any],
    folder: Path,
    task: str,
    models: dict[str, int],
    trainers: Sequence[str] = (),
    loaders: Sequence[str] = (),
    transforms: Sequence[str] = (),
) -> AgentFacts:
    """Gather an agent's facts.

    `form` is its data's format, `folder` where it keeps things; `trainers`, `loaders` and
    `transforms` are those a job may choose here.
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
        format=form,
        task=task,
        trainers=tuple(trainers),
        loaders=tuple(loaders),
        transforms=tuple(transforms),
    )
