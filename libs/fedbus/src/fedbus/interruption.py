"""Deferral of Ctrl-C and SIGTERM while a command removes its temporary files."""

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
    """Defer signals until the end of the block.

    Python handles signals in the main thread only; in other threads this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def record(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    # Ignored signals stay ignored; a handler set outside Python could not be restored.
    deferred = {n: how for n, how in before.items() if how not in (None, signal.SIG_IGN)}
    for number in deferred:
        signal.signal(number, record)
    try:
        yield
    finally:
        for number, how in deferred.items():
            signal.signal(number, how)
        if received:
            signal.raise_signal(received[0])


@contextmanager
def temporary_folder(prefix: str = "fedbus-", within: Path | None = None) -> Iterator[Path]:
    """Create a folder for the length of the block; a second Ctrl-C does not cut its removal."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    try:
        yield folder
    finally:
        with deferred_signals():
            shutil.rmtree(folder, ignore_errors=True)
