"""Memory of an agent's process that is free again."""

import subprocess
import sys

import pytest

from fedbus_edge_agent.host.freed_memory import return_freed_memory

PROGRAM = """
import sys
import numpy as np
from fedbus_edge_agent.host.freed_memory import return_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

np.ones(2**22, "u1"), np.ones(2**21, "u1")  # glibc learns to keep such blocks
if sys.argv[1] == "returned":
    assert return_freed_memory()
before = resident()
blocks = [np.ones(2**18, "u1") for _ in range(40)]
last = np.ones(2**16, "u1")
del blocks
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_blocks_are_returned() -> None:
    """Otherwise they stay, since a block that is in use lies behind them."""
    kept, returned = (
        int(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, way], capture_output=True, check=True
            ).stdout
        )
        for way in ("kept", "returned")
    )
    assert returned < 2**20 < 8 * 2**20 < kept


def test_another_system_has_no_such_setting() -> None:
    """The agent starts without it."""
    assert not return_freed_memory("darwin")
