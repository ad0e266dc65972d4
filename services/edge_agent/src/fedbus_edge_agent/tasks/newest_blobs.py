"""Cache of blobs in spools: the newest one of each name, of a bounded number of names. Pure."""

from collections import OrderedDict

from fedbus.blobs.spool import Spool
from fedbus.model.blob_header import Blob
from fedbus.wire.blobs import BlobRef


class NewestBlobs:
    """Maps a name to its newest blob; of more than `most` names, the oldest are dropped."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._blobs: OrderedDict[str, tuple[str, Spool]] = OrderedDict()  # digest, bytes

    def add(self, name: str, blob_ref: BlobRef, spool: Spool) -> None:
        """Add a blob in the place of the one that its name has."""
        self.put(name, blob_ref.digest, spool)

    def move(self, name: str, to: "NewestBlobs") -> None:
        """Move the blob of a name into another cache."""
        digest, spool = self._blobs.pop(name)
        to.put(name, digest, spool)

    def put(self, name: str, digest: str, spool: Spool) -> None:
        """Add a blob of this digest in the place of the one that its name has."""
        self.drop(name)
        self._blobs[name] = digest, spool
        while len(self._blobs) > self._most:
            self.drop(next(iter(self._blobs)))

    def has(self, name: str, blob_ref: BlobRef) -> bool:
        """Return whether this is the blob of a name."""
        return self._blobs.get(name, ("", None))[0] == blob_ref.digest

    def read(self, name: str) -> Blob:
        """Return a lease on the bytes of a name, which stay unchanged while others are added.

        Raises:
            StoreError: They cannot be read, because the disk was full.
        """
        spool = self._blobs[name][1]
        return spool.read(0, spool.size)

    def drop(self, name: str) -> None:
        """Drop the blob of a name, if there is one."""
        if name in self._blobs:
            self._blobs.pop(name)[1].close()
