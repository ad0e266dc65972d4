"""Bytes of a body, read once from the first to the last, in pieces of any size. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from fedbus.errors import LayoutError


def _nothing() -> None:
    """Check nothing: bytes that are not packed end where they end."""


@dataclass(slots=True)
class BodyBytes:
    """A body that is read block by block: packed bytes are never unpacked as a whole.

    Attributes:
        read: Returns the next bytes, as many as are asked for.
        left: Bytes that are not read yet.
        end: Called after the last byte; raises LayoutError if there is more behind it.
    """

    read: Callable[[int], bytes | memoryview]
    left: int
    end: Callable[[], None] = _nothing

    @classmethod
    def of(cls, data: memoryview) -> "BodyBytes":
        """Return the bytes of data that are not packed."""
        at = 0

        def read(count: int) -> memoryview:
            nonlocal at
            at += count
            return data[at - count : at]

        return cls(read, len(data))

    def take(self, count: int) -> bytes | memoryview:
        """Return the next bytes; raise LayoutError if there are fewer."""
        if count > self.left:
            raise LayoutError(f"a compressed blob ends {count - self.left} bytes too early")
        self.left -= count
        return self.read(count)
