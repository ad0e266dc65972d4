"""What this machine can do: read once, without importing any framework."""

import os
import shutil
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from fedbus.wire.states import AgentFacts

FRAMEWORKS = {
    "tflite": ("tflite-runtime", "ai-edge-litert"),
    "torch": ("torch",),
    "tensorflow": ("tensorflow",),
}
Role = Literal["train", "evaluate"]


@cache
def frameworks() -> dict[str, str]:
    """Name the frameworks that are installed, with their versions."""
    found = {}
    for name, distributions in FRAMEWORKS.items():
        for distribution in distributions:
            try:
                found[name] = version(distribution)
            except PackageNotFoundError:
                continue
    return found


def memory_mb() -> int:
    """Measure the memory a process may still take, MiB: the machine's, or its cgroup's if less."""
    free = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free += [int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:")]
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
        free += [] if limit == "max" else [(int(limit) - int(used)) // 2**20]
    except (OSError, ValueError):
        pass  # no cgroup v2, or not Linux: what was read so far holds
    return max(0, min(free, default=0))


def gpu() -> bool:
    """Say whether an NVIDIA device is visible; whether a framework can use it, the framework knows."""
    return Path("/dev/nvidia0").exists()


def measure(
    roles: Sequence[Role], examples: int, form: dict[str, Any], folder: Path, task: str, models: dict[str, int]
) -> AgentFacts:
    """Gather an agent's facts; `form` is its data's format, `folder` where it keeps things."""
    return AgentFacts(
        roles=tuple(roles),
        examples=examples,
        cores=len(os.sched_getaffinity(0)),
        memory_mb=memory_mb(),
        storage_mb=shutil.disk_usage(folder).free // 2**20,
        gpu=gpu(),
        frameworks=frameworks(),
        models=models,
        format=form,
        task=task,
    )
