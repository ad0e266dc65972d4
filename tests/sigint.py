"""SIGINT handling of processes that a test interrupts.

A shell starts a background job with SIGINT ignored, and each child inherits that: without this
module, a test run in the background could not interrupt any process.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sigint_enabled() -> Iterator[None]:
    """Start processes in this block that handle SIGINT; enter it in the main thread."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
