"""Decoding of compressed updates into deltas, which are verified as other updates are.

Called in a worker thread, one update at a time, in blocks: beside the spools it needs memory for
the compressed update, one bit for each number and a few blocks.
"""

from dataclasses import dataclass

from fedbus import compression
from fedbus.blobs.spool import Spool
from fedbus.compression import chain_of, compressed_bounds
from fedbus.model.blob_header import blob_size
from fedbus.model.encodings import SizeBounds
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Layout
from fedbus.wire.blobs import Compression
from fedbus.wire.strategies import Strategy


@dataclass(frozen=True, slots=True)
class UpdateDecoder:
    """Decodes the updates of a round.

    Attributes:
        layout: The model's; a compressed update has no sections.
        steps: The strategy's.
        frozen: The numbers that the updates leave out; None: none.
    """

    layout: Layout
    steps: Compression
    frozen: FrozenBits | None = None

    @classmethod
    def of(
        cls, strategy: Strategy, layout: Layout, frozen: FrozenBits | None
    ) -> "UpdateDecoder | None":
        """Return the decoder of a round; None if its updates are deltas.

        Raises:
            PluginError: The strategy's steps are no chain, or a package is missing.
        """
        if not strategy.compression and frozen is None:
            return None
        chain_of(strategy.compression).check_installed()
        return cls(layout, strategy.compression, frozen)

    @property
    def bounds(self) -> SizeBounds:
        """The least and the most bytes of a compressed update."""
        frozen = 0 if self.frozen is None else self.frozen.count
        return compressed_bounds(self.layout, self.steps, frozen)

    @property
    def delta_bytes(self) -> int:
        """The size of the spool of a delta."""
        return blob_size(self.layout, "delta")

    def decode(self, update: Spool, delta: Spool) -> None:
        """Decode an update into the spool of its delta.

        Raises:
            FedbusError: The bytes are no compressed update of this round, or cannot be read.
        """
        with update.read(0, update.size) as blob:
            compression.decode_into(delta.write, blob, self.layout, self.steps, self.frozen)
