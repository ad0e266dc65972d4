"""Context manager for a process that runs until a test ends, however the test ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen


@contextmanager
def killed_at_exit(process: "Popen[str]") -> Iterator["Popen[str]"]:
    """Kill a process at the end of the block.

    `with Popen(...)` waits for the end of the process instead: a failed assertion in its block
    would then never be reported.
    """
    with process:
        try:
            yield process
        finally:
            process.kill()
