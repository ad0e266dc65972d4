"""The names of blobs: BLAKE3, 256 bits, as 64 hex digits. Pure.

Every blob is hashed by whoever makes it and by whoever receives it, so the hash was the largest
single cost of a round. SHA-256 runs at 0.2 to 0.4 GB/s where the processor has no instructions for
it, as on most boards and many servers; BLAKE3 at 1 to 3 GB/s (docs/adr/0011-blake3.md).
"""

from blake3 import blake3

from fedbus.wire.values import Manifest


def hasher() -> blake3:
    """Begin to hash; `update` takes bytes, `hexdigest` gives the name."""
    return blake3()


def digest_of(data: bytes | bytearray | memoryview) -> str:
    """Name a blob by its content."""
    return blake3(data).hexdigest()


def manifest_of(data: bytes | bytearray | memoryview) -> Manifest:
    """Name a blob, with its size."""
    return Manifest(digest=digest_of(data), size=memoryview(data).nbytes)
