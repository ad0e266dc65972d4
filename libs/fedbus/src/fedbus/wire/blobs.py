"""References to blobs and to model versions."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from fedbus.digest import digest_of
from fedbus.limits import MAX_BLOB_BYTES, MAX_COMPRESSION_STEPS
from fedbus.scalars import Bounds, Ident, Strict, Whole
from fedbus.training.params import PluginChoice
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


Scheme = Literal["bfv", "ckks"]
"""A scheme of homomorphic encryption: BFV adds whole numbers exactly, CKKS floats with an error."""

Compression = Annotated[tuple[PluginChoice, ...], Bounds(max_length=MAX_COMPRESSION_STEPS)]
"""The steps that make a blob smaller, in this order; see `fedbus.compression`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedBlob:
    """A blob that holds the tensors of another one in fewer bytes, and how it was made."""

    blob: BlobRef
    compression: Compression


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedVersion:
    """How the blob of an encrypted version is encrypted.

    Its numbers are distances from its anchor: `anchor` is the number of the newest earlier version
    that is not encrypted, and `anchor_weights` its plain blob, which is served as long as a version
    needs it. `key` is the id of the key, `parameters` the digest of all parameters of the scheme.
    """

    scheme: Scheme
    key: Digest
    parameters: Digest
    anchor: Whole
    anchor_weights: BlobRef


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A committed version of a model: its weights, its spec, and the node that serves both.

    With `encryption` the weights are a ciphertext. With `thin`, agents may train from those fewer
    bytes in place of the weights.
    """

    model: Ident
    version: Whole
    weights: BlobRef
    spec: BlobRef
    source: NodeName
    encryption: EncryptedVersion | None = None
    thin: CompressedBlob | None = None

    @property
    def download(self) -> BlobRef:
        """The blob to start from: the thin one if it is named here, else the weights."""
        return self.weights if self.thin is None else self.thin.blob

    @property
    def whole(self) -> "ModelRef":
        """The same version without its thin blob, for what needs the weights themselves."""
        return self if self.thin is None else replace(self, thin=None)

    def location(self, blob_ref: BlobRef) -> BlobLocation:
        """Return the location of one of this version's blobs."""
        return BlobLocation(blob_ref=blob_ref, source=self.source)
