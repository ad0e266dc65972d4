"""Processes that a test will send Ctrl-C to.

A shell starts a background job with SIGINT ignored, and every child inherits that: without this, a
test run in the background could not interrupt anything.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heeding_ctrl_c() -> Iterator[None]:
    """Let processes that are started in this block handle SIGINT; call it in the main thread."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
