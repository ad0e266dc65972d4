"""Components of one open round, and what the worker threads do for them. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from fedbus.blobs.spool import Spools
from fedbus.core.actions import Action
from fedbus_collector import keys
from fedbus_collector.collector_parts import PartsFactory
from fedbus_collector.encryption_key import CollectorKey
from fedbus_collector.model_cache import ModelCache
from fedbus_collector.noise_key_watch import NoiseKeyWatch
from fedbus_collector.rounds.agent_identities import AgentIdentities
from fedbus_collector.rounds.closing_stages import ClosingStage, ClosingStages
from fedbus_collector.rounds.inputs import RoundInputs
from fedbus_collector.rounds.masked_round_driver import (
    AgreementOnSurvivors,
    MaskedRoundDriver,
    Unmasking,
)
from fedbus_collector.rounds.progress import RoundProgress
from fedbus_collector.rounds.round_aggregate import RoundAggregate
from fedbus_collector.rounds.round_parts import RoundParts
from fedbus_collector.rounds.round_privacy import RoundPrivacy
from fedbus_collector.rounds.updates import RoundUpdates


@dataclass(frozen=True, slots=True)
class RoundResources:
    """Resources that all rounds share; `parts` makes the parts of a strategy."""

    spools: Spools
    cache: ModelCache
    parts: PartsFactory
    noise_key: NoiseKeyWatch = field(default_factory=NoiseKeyWatch)
    encryption_key: CollectorKey = field(default_factory=CollectorKey)
    identities: AgentIdentities = field(default_factory=AgentIdentities)


class RoundComponents:
    """The components of one round; `masking` is None unless its updates are masked.

    Raises:
        FedbusError: There is no room for a spool.
    """

    def __init__(self, progress: RoundProgress, resources: RoundResources) -> None:
        masking = progress.request.strategy.masking
        self.masking = (
            None if masking is None else MaskedRoundDriver(progress, masking, resources.identities)
        )
        self.inputs = RoundInputs(progress.request, resources.spools, resources.cache)
        self.updates = RoundUpdates(
            progress, resources.spools, resources.encryption_key, self.masking
        )
        self.parts = RoundParts(progress, resources.parts)
        self.aggregate = RoundAggregate(progress, resources.spools, resources.cache)
        self.privacy = RoundPrivacy(progress, resources.noise_key)
        self.closing = ClosingStages(progress, *self._closing_stages())

    def _closing_stages(self) -> Iterator[ClosingStage]:
        """Yield what must happen before the round's updates are combined."""
        if self.masking is not None:
            yield AgreementOnSurvivors(self.masking)
        if self.privacy.terms is not None:
            yield self.privacy
        if self.masking is not None:
            yield Unmasking(self.masking)

    @property
    def busy(self) -> bool:
        """Whether a worker thread makes parts for this round, or uses its spools."""
        working = self.parts.making or self.updates.folding or self.aggregate.running
        return working or self.privacy.reading or bool(self.inputs.checking)

    def run_ended(self, key: keys.RoundKey) -> None:
        """Note that a worker thread has ended, whether or not it succeeded."""
        match key:
            case keys.InputCheck(part=part):
                self.inputs.checking.discard(part)
            case keys.AggregateRun():
                self.aggregate.running = False
            case keys.PartsRun():
                self.parts.making = False
            case keys.NoiseKeyRead():
                self.privacy.reading = False
            case _:
                self.updates.folding = False

    def cancel(self) -> Iterator[Action]:
        """Cancel what was asked and fetched, and serve the aggregate no more."""
        if self.masking is not None:
            yield from self.masking.cancel()
        yield from self.inputs.cancel()
        yield from self.updates.cancel_fetches()
        yield from self.aggregate.unserve()

    def close(self, *, keep_inputs: bool) -> None:
        """Free all spools, except with `keep_inputs` those of inputs, which the cache then has."""
        self.inputs.close(keep=keep_inputs)
        self.updates.close()
        self.aggregate.close()
        self.privacy.close()
