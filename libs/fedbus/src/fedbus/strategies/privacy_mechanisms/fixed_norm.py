"""Clipping to a norm that stays the same: what such mechanisms of a collector share. Pure."""

from collections.abc import Mapping, Sequence

from fedbus.model.layout import Weights
from fedbus.plugins import Block, Combined, PrivateTraining, PrivateUpdate, RoundNoise, UpdateFacts
from fedbus.strategies.privacy_mechanisms.mechanism_parameters import clipping_norm_of, norm_fault
from fedbus.strategies.privacy_mechanisms.update_clipping import clipped, clipped_block


class FixedNorm:
    """Clips each update to one norm at its agent, and refuses a longer one at the collector.

    Attributes:
        needs_combined_norm: Whether the combined update is clipped as well; see `BoundedBy`.
    """

    needs_norm = True
    needs_combined_norm = False

    def __init__(self, clipping_norm: float) -> None:
        self._norm = clipping_norm_of(clipping_norm)

    def protect(self, update: Weights, _training: PrivateTraining, /) -> PrivateUpdate:
        """Return the clipped update."""
        return PrivateUpdate(update=clipped(update, self._norm).update)

    def public_bound(self, _numbers: Mapping[str, float], /) -> float:
        """Return the clipping norm: no number of the update is greater."""
        return self._norm

    def refuses_update(self, facts: UpdateFacts, _numbers: Mapping[str, float], /) -> str:
        """Return why an update is longer than the clipping norm, or ""; "" if none is measured."""
        return norm_fault(facts, self._norm) if self.needs_norm else ""

    def next_private_numbers(
        self,
        _numbers: Mapping[str, float],
        _facts: Sequence[UpdateFacts],
        _noise: RoundNoise | None,
        /,
    ) -> Mapping[str, float]:
        """Return none: the norm stays as it is, and other numbers would be published."""
        return {}

    def _bounded(self, combined: Combined) -> Block:
        """Return a block of the combined update, clipped if the aggregator does not bound it."""
        if self.needs_combined_norm:
            return clipped_block(combined.update, combined.norm, self._norm)
        return combined.update
