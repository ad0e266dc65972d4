"""Documents of GridFS: how one blob lies in the collections `fs.files` and `fs.chunks`. Pure.

The format is that of the GridFS specification, so that other tools read the blobs. The file's `_id`
and `filename` are the blob's digest, and `metadata.crc32` has eight hexadecimal digits for each of
its chunks, so that a damaged chunk is found when it is read, and named. A document without them is
that of no blob: our writer inserts it last, and a server that invents it earlier cannot invent
them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zlib import crc32

from fedbus.wire.blobs import BlobRef

FILES: Final = "fs.files"
CHUNKS: Final = "fs.chunks"
UNFINISHED: Final = "fs_unfinished"
"""Collection of the digests that are being written or deleted: what a restart completes."""
GRIDFS_CHUNK_BYTES: Final = 1024 * 1024
"""Bytes of a new file's chunks, each a document: four chunks of a transfer."""
MAX_GRIDFS_CHUNK_BYTES: Final = 15 * 1024 * 1024
"""A document has at most 16 MiB."""


@dataclass(frozen=True, slots=True)
class GridFsFile:
    """One document of `fs.files`.

    Attributes:
        digest: The blob's digest, its `_id`.
        size: Bytes of the blob.
        chunk_bytes: Bytes of every chunk but the last.
        checksums: The CRC-32 of each chunk, in hexadecimal.
    """

    digest: str
    size: int
    chunk_bytes: int
    checksums: Sequence[str]

    @property
    def count(self) -> int:
        """The number of chunks."""
        return -(-self.size // self.chunk_bytes)

    def length_of(self, index: int) -> int:
        """Return the bytes of one chunk."""
        return min(self.chunk_bytes, self.size - index * self.chunk_bytes)

    def is_intact(self, index: int, data: bytes) -> bool:
        """Return whether bytes are those of one chunk, as far as the document tells."""
        return len(data) == self.length_of(index) and checksum(data) == self.checksums[index]


def file_document(blob: BlobRef, checksums: Sequence[str], at: datetime) -> dict[str, Any]:
    """Return the document of a blob whose chunks have these checksums."""
    return {
        "_id": blob.digest,
        "length": blob.size,
        "chunkSize": GRIDFS_CHUNK_BYTES,
        "uploadDate": at,
        "filename": blob.digest,
        "metadata": {"crc32": "".join(checksums)},
    }


def read_file_document(document: Mapping[str, Any]) -> GridFsFile | None:
    """Read a document of `fs.files`; None if it is not that of a blob that was written whole."""
    digest, size, chunk_bytes = (document.get(key) for key in ("_id", "length", "chunkSize"))
    if not (isinstance(digest, str) and isinstance(size, int) and isinstance(chunk_bytes, int)):
        return None
    metadata = document.get("metadata")
    packed = metadata.get("crc32") if isinstance(metadata, Mapping) else None
    if not isinstance(packed, str) or size < 0 or not 0 < chunk_bytes <= MAX_GRIDFS_CHUNK_BYTES:
        return None
    checksums = [packed[at : at + 8] for at in range(0, len(packed), 8)]
    found = GridFsFile(digest, int(size), int(chunk_bytes), checksums)
    return found if len(packed) == 8 * found.count else None


def checksum(data: bytes) -> str:
    """Return the CRC-32 of a chunk as eight hexadecimal digits."""
    return f"{crc32(data):08x}"


def chunk_document(digest: str, index: int, data: bytes) -> dict[str, Any]:
    """Return the document of one chunk."""
    return {"files_id": digest, "n": index, "data": data}
