"""What a job file may say that this version does not do: refused, never ignored.

An issue that implements something deletes its line from `UNSUPPORTED_KEYS`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from fedbus.wire.documents import JobFault

UNSUPPORTED_KEYS: Final = frozenset(
    {"privacy-mechanisms.homomorphic", "privacy-mechanisms.dp-adaptive"}
)
"""What is refused for now, by key."""


def unsupported_faults(written: Mapping[str, object]) -> Iterator[JobFault]:
    """Find what this version does not do; `written` is every key of the file with what it says."""
    for key in written:
        if key in UNSUPPORTED_KEYS:
            yield JobFault(key=key, problem="not implemented yet", hint="leave it out")
