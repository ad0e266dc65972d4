"""Somebody's code in a thread of its own, while the main thread waits and hears Ctrl-C.

A trainer may be deep in native code, or swallow what Ctrl-C raises: in a thread neither matters.
The thread is asked to stop; if it does not in a moment, the process ends over its head.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from fedbus.cli.signals import ENDING, end_children
from fedbus.client.failures import Failed
from fedbus.interruption import SIGNALS

STOP_SECONDS = 1.0
"""How long a thread that was asked to stop is waited for."""

T = TypeVar("T")


def aside(work: Callable[[threading.Event], T]) -> T:
    """Do something in a thread and return its result; it should stop when the event is set.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM was heard. The thread has ended, or `ENDING.abandoned`
            is set; child processes have ended. Further signals are heard no more.
        Failed: no signal was heard, and what was done raised KeyboardInterrupt by itself.
    """
    stop, outcome = threading.Event(), Future[T]()

    def run() -> None:
        try:
            outcome.set_result(work(stop))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="aside", daemon=True)
    with _first_signal() as heard:
        thread.start()
        try:
            return outcome.result()
        except KeyboardInterrupt:
            if not heard:
                raise Failed(
                    "somebody's code raised KeyboardInterrupt; no key was pressed"
                ) from None
            stop.set()
            end_children()
            thread.join(STOP_SECONDS)
            end_children()  # those of its last moment
            ENDING.abandoned = ENDING.abandoned or thread.is_alive()
            raise


@contextmanager
def _first_signal() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt for the first signal, and hear no other one after it."""
    heard: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        ENDING.terminated = ENDING.terminated or number == signal.SIGTERM
        if not heard:
            heard.append(number)
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, how in before.items():
        if how is not signal.SIG_IGN:  # in the background of a shell Ctrl-C is for others
            signal.signal(number, hear)
    try:
        yield heard
    finally:
        if not heard:
            for number, how in before.items():
                signal.signal(number, how)
