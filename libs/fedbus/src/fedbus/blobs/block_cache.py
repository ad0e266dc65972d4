"""Cache of the last blocks that were read of blobs: a bounded number of bytes for all. Thread-safe.

A chunk that is sent is a part of a block, and several receivers ask for it soon after each other.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable


class BlockCache:
    """Blocks of blobs by their blob and index; the least recently used ones leave first.

    Args:
        limit: Bytes that it keeps at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._blocks: OrderedDict[tuple[Hashable, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes that it keeps now."""
        return self._size

    def get(self, blob: Hashable, index: int) -> bytes | None:
        """Return a block, or None."""
        with self._lock:
            block = self._blocks.get((blob, index))
            if block is not None:
                self._blocks.move_to_end((blob, index))
            return block

    def has(self, blob: Hashable, index: int) -> bool:
        """Return whether it keeps a block; that is no use of it."""
        return (blob, index) in self._blocks

    def put(self, blob: Hashable, first: int, blocks: Iterable[bytes]) -> None:
        """Keep blocks that follow each other."""
        with self._lock:
            for index, block in enumerate(blocks, first):
                self._remove((blob, index))
                self._blocks[blob, index] = block
                self._size += len(block)
            while self._size > self._limit:
                self._remove(next(iter(self._blocks)))

    def forget(self, blob: Hashable) -> None:
        """Remove the blocks of a blob."""
        with self._lock:
            for key in [key for key in self._blocks if key[0] == blob]:
                self._remove(key)

    def _remove(self, key: tuple[Hashable, int]) -> None:
        block = self._blocks.pop(key, None)
        if block is not None:
            self._size -= len(block)
