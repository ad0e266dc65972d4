"""Isolated calls: a third-party plug-in cannot end or block its service."""

import sys
import threading
from collections.abc import Callable

import pytest

from fedbus.errors import PluginError
from fedbus.plugins.isolation import call_isolated


def _raises() -> None:
    raise ZeroDivisionError("by zero")


def _interrupts() -> None:
    raise KeyboardInterrupt


def test_an_isolated_call_returns_its_result() -> None:
    """It runs in a thread with the given name."""
    assert call_isolated("selector own", lambda: threading.current_thread().name, 10.0) == (
        "selector own"
    )


def _finds_nothing() -> None:
    raise KeyError("control")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (_raises, "by zero"),
        (lambda: sys.exit(3), "sys.exit: 3"),
        (_interrupts, "KeyboardInterrupt"),
        (_finds_nothing, "KeyError: 'control'"),
    ],
    ids=["raises", "exits", "interrupts", "finds nothing"],
)
def test_an_exception_of_an_isolated_call_is_a_plug_in_error(
    call: Callable[[], None], message: str
) -> None:
    """Even an exception that would end the process."""
    with pytest.raises(PluginError, match=message):
        call_isolated("own", call, 10.0)


def test_an_isolated_call_that_hangs_is_a_plug_in_error() -> None:
    """Its thread exists until the call returns."""
    go = threading.Event()
    with pytest.raises(PluginError, match=r"it did not answer in 0\.05 s"):
        call_isolated("own", lambda: go.wait(10.0), 0.05)
    go.set()
