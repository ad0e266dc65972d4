"""How a signal ends the command: its number, for the exit code, and who must not be waited for.

It imports next to nothing, since it stands before all commands.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""128 and SIGINT's number; as in `exits.py`, which is loaded later."""
TERMINATED = 143
"""128 and SIGTERM's number."""


class Ending:
    """Which signal ends this process, if one does.

    Attributes:
        terminated: SIGTERM was heard.
        abandoned: A thread still works that nothing can end but the end of the process.
        folders: What such a thread may write into, and what must not be left.
    """

    def __init__(self) -> None:
        self.terminated = False
        self.abandoned = False
        self.folders: list[str] = []

    def code(self, code: int | str | None) -> int | str | None:
        """Say with which exit code the process ends where a command says this one."""
        return TERMINATED if self.terminated and code == INTERRUPTED else code

    def terminate(self, _number: int, frame: FrameType | None) -> None:
        """Take SIGTERM for Ctrl-C, which every command ends by, and note the difference."""
        self.terminated = True
        interrupt = signal.getsignal(signal.SIGINT)
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)  # asyncio has one of its own
        else:
            raise KeyboardInterrupt

    def leave(self, number: int, _frame: FrameType | None) -> NoReturn:
        """End the process now: nothing is begun yet, or nothing is left to do."""
        os._exit(128 + number)

    def finish(self) -> None:
        """Ignore signals from now on: all work is done, and the exit code is decided."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


ENDING = Ending()


def leave(code: int | str | None) -> NoReturn:
    """End the process at once, even while a thread of its works, in which Python would crash.

    What it has started ends with it, and the folders of `ENDING` are removed.
    """
    import shutil  # nobody else needs it before the commands are loaded

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # this takes a moment, and is the end anyway
    end_children()
    for folder in ENDING.folders:
        shutil.rmtree(folder, ignore_errors=True)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 1)


def end_children() -> None:
    """Kill the processes that this one has started: nobody else knows of them."""
    import psutil

    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
