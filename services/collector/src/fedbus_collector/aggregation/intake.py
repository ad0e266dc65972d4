"""Intake of a round's updates: what takes each one that arrives, and combines them at the end.

Which one a round has depends on its strategy. Called in a worker thread, except `close`.
"""

from collections.abc import Sequence
from typing import Protocol

from fedbus.blobs.spool import Spool
from fedbus.encryption.encrypted_blob import encrypted_bounds
from fedbus.model.blob_header import blob_size
from fedbus.model.encodings import SizeBounds
from fedbus.plugins import UpdateFacts
from fedbus.secure_aggregation.masked_blob import masked_bounds
from fedbus.wire.strategies import Strategy
from fedbus_collector.aggregation.combined_blocks import CombinedBlocks
from fedbus_collector.aggregation.compressed_update import UpdateDecoder
from fedbus_collector.aggregation.tensor_runs import UpdateRuns
from fedbus_collector.aggregation.verification import ArrivedUpdate


class UpdateIntake(Protocol):
    """Takes the updates of a round."""

    @property
    def keeps_spools(self) -> bool:
        """Whether the spools of taken updates are needed until the round closes."""
        ...

    def take(self, updates: Sequence[ArrivedUpdate], /) -> dict[str, str]:
        """Verify and take each update; return the reason for each agent whose update is refused.

        Raises:
            StoreError: The disk is full.
        """
        ...

    def facts(self, agents: Sequence[str], /) -> tuple[UpdateFacts, ...]:
        """Return the facts of the updates of these agents, in this order."""
        ...

    def combine(self, agents: Sequence[str], base: Spool, /) -> CombinedBlocks:
        """Return the combination of the updates of these agents."""
        ...

    def close(self) -> None:
        """Free the memory and the disk that it uses; not while another call runs."""
        ...


def update_bounds(
    strategy: Strategy, runs: UpdateRuns, decoder: UpdateDecoder | None = None
) -> SizeBounds:
    """Return the least and the most bytes that the blob of an update may have."""
    if strategy.encryption is not None:
        return encrypted_bounds(strategy.encryption, runs.layout)
    if strategy.masking is not None:
        return masked_bounds(strategy.masking.fixed_point, runs.layout)
    if decoder is not None:
        return decoder.bounds
    size = blob_size(runs.updates, "delta")
    return SizeBounds(size, size)
