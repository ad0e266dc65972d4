"""Keys of a job file that are not implemented: they are faults, never ignored.

A change that implements a key deletes it from `UNSUPPORTED_KEYS`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from fedbus.wire.documents import JobFault

UNSUPPORTED_KEYS: Final = frozenset({"privacy-mechanisms.homomorphic"})
"""Keys that are not implemented yet."""


def unsupported_faults(written: Mapping[str, object]) -> Iterator[JobFault]:
    """Yield a fault for each unimplemented key; `written` has all keys and values."""
    for key in written:
        if key in UNSUPPORTED_KEYS:
            yield JobFault(key=key, problem="not implemented yet", hint="leave it out")
