"""References to blobs and to model versions."""

import math
from dataclasses import dataclass
from typing import Annotated

from fedbus.digest import digest_of
from fedbus.limits import MAX_BLOB_BYTES
from fedbus.scalars import Ident, Strict, Whole
from fedbus.wire.identifiers import Digest, NodeName

CHUNK_BYTES = 256 * 1024
"""Size of a chunk; the last one of a blob may be shorter."""


def chunks_in(size: int) -> int:
    """Return the number of chunks of a blob of `size` bytes: at least one, empty if `size` is 0."""
    return max(1, math.ceil(size / CHUNK_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRef:
    """A blob's digest (BLAKE3, hexadecimal) and its size in bytes."""

    digest: Digest
    size: Annotated[int, Strict(ge=0, le=MAX_BLOB_BYTES)]

    @property
    def count(self) -> int:
        """Number of chunks; it follows from the size, so no sender can state a wrong one."""
        return chunks_in(self.size)


def blob_ref_of(data: bytes | bytearray | memoryview) -> BlobRef:
    """Compute the blob ref of bytes."""
    return BlobRef(digest=digest_of(data), size=memoryview(data).nbytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobLocation:
    """A blob ref and the node that serves the blob."""

    blob_ref: BlobRef
    source: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A committed version of a model: its weights, its spec, and the node that serves both."""

    model: Ident
    version: Whole
    weights: BlobRef
    spec: BlobRef
    source: NodeName

    def location(self, blob_ref: BlobRef) -> BlobLocation:
        """Return the location of one of this version's blobs."""
        return BlobLocation(blob_ref=blob_ref, source=self.source)
