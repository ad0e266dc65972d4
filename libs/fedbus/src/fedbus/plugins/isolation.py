"""Isolation of calls to third-party plug-ins, which may raise any exception, exit or hang."""

import threading
from collections.abc import Callable
from typing import TypeVar

from fedbus.errors import PluginError
from fedbus.plugins.discovery import error_message

T = TypeVar("T")


class CallTimeoutError(PluginError):
    """A call exceeded its time limit; `thread` is the one that it runs in, if it was begun."""

    def __init__(self, message: str, thread: threading.Thread | None = None) -> None:
        self.thread = thread
        super().__init__(message)


def call_isolated(thread_name: str, call: Callable[[], T], seconds: float) -> T:
    """Return the result of a call in a thread, within a time limit.

    A Python thread cannot be killed: one that exceeds the limit exists until its call returns or
    the process ends. So `call` must not write into memory that others use.

    Raises:
        PluginError: the call raised or called exit.
        CallTimeoutError: it exceeded the limit.
    """
    results: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - the thread runs only the plug-in
            raised.append(error)

    thread = threading.Thread(target=run, name=thread_name, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise PluginError(error_message(raised[0])) from raised[0]
    if not results:
        raise CallTimeoutError(f"it did not answer in {seconds:.3g} s", thread)
    return results[0]
