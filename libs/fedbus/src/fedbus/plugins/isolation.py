"""Isolation of calls to third-party plug-ins, which may raise any exception, exit or hang."""

import threading
from collections.abc import Callable
from typing import TypeVar

from fedbus.errors import PluginError
from fedbus.plugins.discovery import error_message

T = TypeVar("T")


def call_isolated(thread_name: str, call: Callable[[], T], seconds: float) -> T:
    """Return the result of a call in a thread, within a time limit.

    A Python thread cannot be killed: one that exceeds the limit exists until its call returns or
    the process ends. So `call` must not write into memory that others use.

    Raises:
        PluginError: the call raised, called exit, or exceeded the limit.
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
        raise PluginError(f"it did not answer in {seconds:g} s")
    return results[0]
