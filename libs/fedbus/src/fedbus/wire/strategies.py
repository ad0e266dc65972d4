"""Strategies as messages and records name them: their parts, the facts they need, their state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from fedbus.limits import MAX_TRANSFORMS
from fedbus.scalars import Bounds, Flag, Ident, Number, Strict, Whole
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import BlobRef, Compression
from fedbus.wire.compression import Freezing, SyncFrequency
from fedbus.wire.encryption import EncryptionTerms, FixedPoint, Ranges
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.secure_aggregation import SecureAggregationTerms

FactName = Literal["steps", "base_loss", "norm_bit"]
"""A fact about a training that a strategy may need; a field of `TrainingFacts`."""

MAX_SECTIONS = 8
"""Additional arrays of an update, or of a strategy's state."""

MAX_STATE_NUMBERS = 64
"""Numbers of a strategy's state beside its arrays."""

Names = Annotated[tuple[Ident, ...], Bounds(max_length=MAX_SECTIONS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """Facts about a training that a strategy weighs updates by.

    An agent reports those that its task asks for. `steps`: optimizer steps. `base_loss`: the loss
    of the base version on the agent's own training data. `norm_bit`: whether the update was not
    longer than the clipping norm of the job's privacy mechanism, 1 or 0, or such a bit with noise.
    """

    steps: Annotated[int, Strict(ge=1, le=1_000_000_000)] | None = None
    base_loss: Number | None = None
    norm_bit: Number | None = None


NO_FACTS: Final = TrainingFacts()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimit:
    """What bounds the optimizer steps of a training; fields as in `TrainingParams`."""

    epochs: Annotated[int, Strict(ge=1, le=100_000)]
    batch_size: Annotated[int, Strict(ge=1, le=1_000_000)]
    steps_per_epoch: Annotated[int, Strict(ge=1, le=100_000_000)] | None = None

    def most(self, examples: int) -> int:
        """Return the greatest number of steps that are possible with these examples."""
        batches = -(-examples // self.batch_size)
        return self.epochs * min(batches, self.steps_per_epoch or batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A job's strategy, resolved: every part with all its parameters, defaults included.

    Attributes:
        id: The id in the job file.
        aggregator: How the updates become one.
        server_optimizer: What the combined update does to the model; None: it is added.
        objective: What agents add to their loss; None: nothing.
        update_transforms: Changes of updates, by agents and by the collector.
        facts: The facts that each offer must have.
        sections: Arrays of each update beside the differences; see `model.sections`.
        state: Arrays that the server optimizer keeps from round to round.
        server_state: Those arrays of `state` that the objective reads. If it reads any, agents get
            the blob of all with each task.
        population: Number of agents that may take part in the job; None: not needed.
        privacy: What the job promises; None: nothing. Its mechanism is the last update transform,
            unless trainers have it.
        encryption: How agents encrypt their updates, and the collector adds them; None: they do
            not. At most one of `encryption`, `masking` and (`compression` or `freezing`) is there.
        masking: How agents mask their updates, so that only the sum can be read; None: they do not.
        compression: The steps that make each update smaller, in their order.
        download: The steps that make the versions smaller that agents download.
        freezing: How stable parameters are frozen, whose differences are not sent; None: never.
        sync: How the local training between two rounds grows; None: it does not.
        measures_energy: Whether agents report the energy that they use.
    """

    id: Ident
    aggregator: PluginChoice
    server_optimizer: PluginChoice | None = None
    objective: PluginChoice | None = None
    update_transforms: Annotated[tuple[PluginChoice, ...], Bounds(max_length=MAX_TRANSFORMS)] = ()
    facts: tuple[FactName, ...] = ()
    sections: Names = ()
    state: Names = ()
    server_state: Names = ()
    population: Annotated[int, Strict(ge=1, le=2**31)] | None = None
    privacy: PrivacyTerms | None = None
    encryption: EncryptionTerms | None = None
    masking: SecureAggregationTerms | None = None
    compression: Compression = ()
    download: Compression = ()
    freezing: Freezing | None = None
    sync: SyncFrequency | None = None
    measures_energy: Flag = False

    @property
    def fixed_point(self) -> FixedPoint | None:
        """How agents write numbers as whole numbers; None: updates are readable floats."""
        protected = self.encryption or self.masking
        return None if protected is None else protected.fixed_point


def hides_agents(strategy: Strategy | None) -> bool:
    """Return whether nothing that users read may name an agent, or have a figure of one.

    All that is published about a job of this strategy depends on it; None: it is unknown.
    """
    return strategy is not None and strategy.privacy is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyState:
    """What a round leaves for the next one, beside the weights.

    Attributes:
        rounds: Rounds since the state began.
        numbers: Numbers by name, such as a clipping norm.
        arrays: The blob of the strategy's `state` arrays; None if it has none.
        ranges: The exponents of the ranges that the next round's updates are clipped to; empty
            before the first round, and without fixed-point numbers.
        frozen: The blob of the bits, one for each trained number, that say which parameters the
            next round does not send; None: none is frozen.
    """

    rounds: Whole
    numbers: Annotated[Mapping[Ident, Number], Bounds(max_length=MAX_STATE_NUMBERS)] = field(
        default_factory=dict
    )
    arrays: BlobRef | None = None
    ranges: Ranges = ()
    frozen: BlobRef | None = None
