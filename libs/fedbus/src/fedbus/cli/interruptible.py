"""Interruptible calls of user code: it runs in a thread while the main thread waits for Ctrl-C.

A trainer may be in native code for long, or catch KeyboardInterrupt; in a thread neither matters.
The thread is asked to stop; if it does not within `STOP_SECONDS`, the process ends anyway.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from fedbus.cli.signals import PROCESS_END, end_children
from fedbus.client.failures import Failed
from fedbus.interruption import SIGNALS

STOP_SECONDS = 1.0
"""Wait for a thread that was asked to stop."""

T = TypeVar("T")


def run_interruptible(work: Callable[[threading.Event], T]) -> T:
    """Run `work` in a thread and return its result; it should stop when the event is set.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM arrived. Child processes have ended; the thread has
            ended too, or `PROCESS_END.thread_left` is set. Further signals are ignored.
        Failed: `work` raised KeyboardInterrupt, and no signal arrived.
    """
    stop, outcome = threading.Event(), Future[T]()

    def run() -> None:
        try:
            outcome.set_result(work(stop))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="run_interruptible", daemon=True)
    with _first_signal() as received:
        thread.start()
        try:
            return outcome.result()
        except KeyboardInterrupt:
            if not received:
                raise Failed(
                    "the called code raised KeyboardInterrupt itself: no key was pressed"
                ) from None
            stop.set()
            end_children()
            thread.join(STOP_SECONDS)
            end_children()  # again: processes started meanwhile
            PROCESS_END.thread_left = PROCESS_END.thread_left or thread.is_alive()
            raise


@contextmanager
def _first_signal() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt for the first signal, and ignore later ones; yield the signals."""
    received: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        PROCESS_END.terminated = PROCESS_END.terminated or number == signal.SIGTERM
        if not received:
            received.append(number)
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # a shell ignores Ctrl-C for its background jobs
            signal.signal(number, on_signal)
    try:
        yield received
    finally:
        if not received:
            for number, handler in before.items():
                signal.signal(number, handler)
