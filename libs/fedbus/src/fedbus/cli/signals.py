"""End of the process by a signal: its exit code, and what is removed.

Imports almost nothing, since it is loaded before the commands.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""128 + SIGINT; as in `exit_codes.py`, which is imported later."""
TERMINATED = 143
"""128 + SIGTERM."""


class ProcessEnd:
    """How this process ends.

    Attributes:
        terminated: SIGTERM arrived.
        thread_left: A thread still runs that only the end of the process can end.
        folders: Temporary folders of such a thread, removed at the end.
    """

    def __init__(self) -> None:
        self.terminated = False
        self.thread_left = False
        self.folders: list[str] = []

    def code(self, code: int | str | None) -> int | str | None:
        """Return the exit code of the process for that of a command: SIGTERM has its own."""
        return TERMINATED if self.terminated and code == INTERRUPTED else code

    def terminate(self, _number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM like Ctrl-C, which every command handles, and record the difference."""
        self.terminated = True
        interrupt = signal.getsignal(signal.SIGINT)
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)  # may be the handler of asyncio
        else:
            raise KeyboardInterrupt

    def leave(self, number: int, _frame: FrameType | None) -> NoReturn:
        """End the process at once: no work has begun, or all is done."""
        os._exit(128 + number)

    def finish(self) -> None:
        """Ignore signals from now on: all work is done, and the exit code is known."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


PROCESS_END = ProcessEnd()


def leave(code: int | str | None) -> NoReturn:
    """End the process and its children at once, and remove the folders of `PROCESS_END`.

    Python's own exit may crash while a thread still runs.
    """
    import shutil  # not needed before the commands are loaded

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_children()
    for folder in PROCESS_END.folders:
        shutil.rmtree(folder, ignore_errors=True)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 1)


def end_children() -> None:
    """Kill all child processes."""
    import psutil

    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
