"""Aggregate of a round: the new version, the new state, and how they were computed.

Called in a worker thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedbus.blobs.spool import Spool
from fedbus.model.frozen_bits import FrozenBits
from fedbus.wire.blobs import BlobRef
from fedbus_collector.aggregation.combined_blocks import UsedCoefficients
from fedbus_collector.aggregation.intake import UpdateIntake
from fedbus_collector.aggregation.kept_updates import KeptUpdates
from fedbus_collector.aggregation.new_version import NewVersion
from fedbus_collector.aggregation.server_step import ServerStep
from fedbus_collector.aggregation.state_blocks import StrategyArrays
from fedbus_collector.aggregation.tensor_runs import UpdateRuns
from fedbus_collector.aggregation.thin_version import ThinVersion


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The digests of the blobs that were written, and how the updates were combined.

    `state` is None if the strategy has no arrays. `numbers` are those of its state. `frozen` is the
    digest of the bits of what the next round leaves out; None: nothing. `thin` is the smaller blob
    of the version, if the strategy has one.
    """

    weights: str
    state: str | None
    used: UsedCoefficients
    numbers: Mapping[str, float] = field(default_factory=dict)
    frozen: str | None = None
    thin: BlobRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    """What the aggregate of a round is computed from, and the spools that it is written into.

    `agents` are those whose updates count, in the order of the cohort: so the result from kept
    updates does not depend on the order in which they arrived. A running total depends on it in the
    rounding of its sums. The bits of numbers that the next round leaves out go into `frozen`, a
    spool that a strategy with freezing needs. `thin` makes the version smaller.
    """

    runs: UpdateRuns
    updates: UpdateIntake
    agents: tuple[str, ...]
    step: ServerStep
    base: Spool
    out: Spool
    state: StrategyArrays | None = None
    frozen: Spool | None = None
    thin: ThinVersion | None = None

    def run(self) -> Aggregate:
        """Write the aggregate; raises as `NewVersion` and the `combine` of the updates do."""
        step = self.step.with_next_numbers(self.updates.facts(self.agents))
        combined = self.updates.combine(self.agents, self.base)
        version = NewVersion(self.runs, combined, step, self.base, self._distance())
        version.write(self.out, self.state)
        state = None if self.state is None else self.state.new.digest()
        kept = step.next_state()
        frozen = self._write_frozen(kept.frozen)
        thin = None if self.thin is None else self.thin.write(self.out, self.runs.layout)
        return Aggregate(self.out.digest(), state, combined.used, kept.numbers, frozen, thin)

    def _write_frozen(self, bits: FrozenBits | None) -> str | None:
        if bits is None or self.frozen is None:
            return None
        self.frozen.write(0, bytes(bits.blob(self.runs.layout)))
        return self.frozen.digest()

    def _distance(self) -> float | None:
        """Return the greatest distance of two updates, if the privacy mechanism needs it."""
        private = self.step.private
        if private is None or not private.mechanism.needs_distance:
            return None
        assert isinstance(self.updates, KeptUpdates)  # noqa: S101 - they are kept to be compared
        return self.updates.distance(self.agents, self.base)
