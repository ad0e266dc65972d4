"""What Ctrl-C and SIGTERM may not cut in two: the removal of what a command leaves behind."""

import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Let signals wait until the block is done, and take effect then.

    Only the main thread is disturbed by signals: in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        heard.append(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    # What is ignored stays so; what was set outside of Python could not be set again.
    held = {n: how for n, how in before.items() if how not in (None, signal.SIG_IGN)}
    for number in held:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, how in held.items():
            signal.signal(number, how)
        if heard:
            signal.raise_signal(heard[0])


@contextmanager
def temporary_folder(prefix: str = "fedbus-", within: Path | None = None) -> Iterator[Path]:
    """Give a folder for the length of the block; a second Ctrl-C does not cut its removal."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    try:
        yield folder
    finally:
        with deferred_signals():
            shutil.rmtree(folder, ignore_errors=True)
