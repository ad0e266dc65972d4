"""Capabilities of a machine, read from its system files."""

from pathlib import Path

import pytest

from fedbus.frameworks.installed import versions
from fedbus.wire import codec
from fedbus.wire.documents import AgentFacts
from fedbus_edge_agent.host.capabilities import CGROUPS, gpu, measure, memory_mb

MEMINFO = "MemTotal:  8000000 kB\nMemAvailable:   2048000 kB\n"
UNLIMITED = str(2**63 - 4096)


def machine(root: Path, **cgroup: tuple[str, int]) -> Path:
    """Create the system files of a machine with 2000 MiB free; its cgroup is "v1" or "v2"."""
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(MEMINFO)
    for kind, (limit, used) in cgroup.items():
        paths = CGROUPS[kind == "v1"]
        for path, text in zip(paths, (limit, str(used)), strict=True):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("cgroup", "free"),
    [
        ({}, 2000),
        ({"v2": ("max", 5)}, 2000),
        ({"v1": (UNLIMITED, 5)}, 2000),
        ({"v2": (str(512 * 2**20), 112 * 2**20)}, 400),
        ({"v1": (str(512 * 2**20), 12 * 2**20)}, 500),
        ({"v2": (str(2**20), 2**21)}, 0),
    ],
    ids=["none", "v2 unlimited", "v1 unlimited", "v2", "v1", "full"],
)
def test_memory_is_the_machines_or_its_cgroups_if_that_is_less(
    tmp_path: Path, cgroup: dict[str, tuple[str, int]], free: int
) -> None:
    """The memory that a process may still allocate."""
    assert memory_mb(machine(tmp_path, **cgroup)) == free


def test_unknown_memory_is_zero(tmp_path: Path) -> None:
    """The system is not Linux, or an old one."""
    assert memory_mb(tmp_path) == 0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1 kB\n")
    assert memory_mb(tmp_path) == 0


def test_a_gpu_is_a_device(tmp_path: Path) -> None:
    """Only a framework knows whether it is usable."""
    assert not gpu(tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    assert gpu(tmp_path)


def test_facts_are_a_message(tmp_path: Path) -> None:
    """They can be published as they are."""
    form = {"x": {"data_types": {"numerical": {"size": [64], "normalized": True}}}}
    facts = measure(("train", "evaluate"), 12, form, tmp_path, "train job-1 1", {"digits": 7})
    assert codec.from_json(AgentFacts, codec.to_json(facts)) == facts
    assert facts.cores >= 1
    assert facts.memory_mb > 0
    assert facts.storage_mb > 0
    assert facts.frameworks == versions()
