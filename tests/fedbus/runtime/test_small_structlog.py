"""Modules that a service imports, each time in a new process."""

import json
import subprocess
import sys

LOADED = """
import json, sys
import fedbus_edge_agent.__main__
loaded = sorted({name.partition(".")[0] for name in sys.modules})
from fedbus.runtime.small_structlog import structlog
import rich.console
from structlog import dev
print(json.dumps([loaded, structlog is sys.modules["structlog"], dev.rich is None]))
"""
RICH_FIRST = """
import rich
from fedbus.runtime.small_structlog import structlog
import sys
print(structlog.dev.rich is rich is sys.modules["rich"])
"""
LARGE = {"cryptography", "fsspec", "rich", "tenseal", "tflite_runtime", "torch", "zstandard"}


def output_of(program: str) -> str:
    """Return what a program prints in a new process."""
    line = [sys.executable, "-c", program]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()


def test_an_agent_imports_no_large_package_before_a_task_needs_it() -> None:
    """An agent with TFLite stays below 90 MB; rich alone, of the command line, takes 4 MB."""
    loaded, same, without = json.loads(output_of(LOADED))
    assert not LARGE & set(loaded)
    assert same
    assert without


def test_a_program_that_has_rich_keeps_it() -> None:
    """Such as the command `fedbus`."""
    assert output_of(RICH_FIRST) == "True"
