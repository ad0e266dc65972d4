"""Digests that name blobs: BLAKE3, 256 bits, as 64 hex digits. Pure, but for `digest_of_file`.

Every blob is hashed by the node that creates it and by each node that receives it, so hashing was
the largest single cost of a round. SHA-256 runs at 0.2 to 0.4 GB/s where the processor has no
instructions for it, as on most boards and many servers; BLAKE3 at 1 to 3 GB/s
(docs/adr/0011-blake3.md). This module loads no pydantic, which would cost a training process that
needs only a digest 8 MB.
"""

import os
from typing import Final

from blake3 import blake3

_BLOCK_BYTES: Final = 1024 * 1024


def hasher() -> blake3:
    """Return a hash object: `update` takes bytes, `hexdigest` returns the digest."""
    return blake3()


def digest_of(data: bytes | bytearray | memoryview) -> str:
    """Compute the digest of bytes."""
    return blake3(data).hexdigest()


def digest_of_file(file: int, size: int | None = None) -> str:
    """Compute the digest of an open file's first `size` bytes, or of all; its position stays.

    Raises:
        OSError: the disk cannot read it.
    """
    digest, offset = blake3(), 0
    while block := os.pread(file, _block(offset, size), offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()


def _block(offset: int, size: int | None) -> int:
    return _BLOCK_BYTES if size is None else min(_BLOCK_BYTES, size - offset)
