"""Private rounds for tests: their strategy, key, ledger answers, and the noise they must have."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.model.blob import decode
from fedbus.plugins import UpdateFacts
from fedbus.plugins.collector_part_calls import AggregatorCalls
from fedbus.plugins.part_caller import PartCaller
from fedbus.plugins.privacy_mechanism_calls import PrivacyMechanismCalls
from fedbus.privacy.noise import KeyedNoise
from fedbus.privacy.noise_key import NoiseKey, create_noise_key
from fedbus.training.params import PluginChoice
from fedbus.wire.messages import NoiseRecorded, NoiseRefused, OpenRound, RecordNoise
from fedbus.wire.privacy import LedgerEntry, NoiseStep, PrivacyTerms
from fedbus.wire.strategies import Strategy
from fedbus_collector import keys
from fedbus_collector.collector_parts import PartsFactory, StrategyParts
from fedbus_collector.noise_key_watch import NoiseKeyWatch
from tests.collector.aggregation.private_parts import AddsNoise
from tests.collector.harness import JOB, LAYOUT, REPOSITORY, A, B, C, Harness, order
from tests.sample_spent import SAMPLE_SPENT

COHORT = 4
TERMS = PrivacyTerms(
    mechanism="dp", release="gaussian", noise_multiplier=1.0, delta=1e-5, cohort=COHORT
)
SPENT = replace(SAMPLE_SPENT, mechanism="dp", epsilon=0.5, model_epsilon=0.5)


class MeanOfFour:
    """A mean over the wanted number of updates."""

    divisor = COHORT

    def weight(self, facts: UpdateFacts) -> float:
        """Weigh all alike."""
        del facts
        return 1.0


@dataclass(frozen=True)
class PrivateParts(PartsFactory):
    """Makes the mean of four, and a mechanism; its `part` None has no half at the collector."""

    part: AddsNoise | None = field(default_factory=lambda: AddsNoise(clipping_norm=100.0))

    def third_party(self, strategy: Strategy) -> bool:
        """Call the parts at once."""
        del strategy
        return False

    def make(self, strategy: Strategy) -> StrategyParts:
        """Return the parts."""
        del strategy
        mechanism = None
        if self.part is not None:
            mechanism = PrivacyMechanismCalls(self.part, PartCaller("update transform", "dp"))
        aggregator = AggregatorCalls(MeanOfFour(), PartCaller("aggregator", "mean"))
        return StrategyParts(aggregator, mechanism=mechanism)


def strategy(**terms: Any) -> Strategy:  # noqa: ANN401 - of the terms
    """Return the strategy of a private job."""
    return Strategy(
        id="fedavg",
        aggregator=PluginChoice(id="mean"),
        update_transforms=(PluginChoice(id="dp"),),
        privacy=replace(TERMS, **terms),
    )


class PrivateRound(Harness):
    """A collector with a noise key, and a repository that keeps a ledger.

    Attributes:
        path: The key's file.
        noise_key: The key that it held at the start.
    """

    def __init__(self, folder: Path, part: AddsNoise | None = None, **more: Any) -> None:  # noqa: ANN401 - of Harness
        self.path = folder / "noise.key"
        if not self.path.exists():
            create_noise_key(self.path)
        self.noise_key = NoiseKey(self.path.read_bytes())
        self.part = part or AddsNoise(clipping_norm=100.0)
        parts = more.pop("parts", None) or PrivateParts(part=self.part)
        watch = NoiseKeyWatch(self.path, self.noise_key)
        super().__init__(parts=parts, noise_key=watch, **more)

    def order(self, **changes: Any) -> OpenRound:  # noqa: ANN401 - of a plan
        """Order a private round with this key."""
        terms = changes.pop("terms", {})
        plan = {"noise_key": self.noise_key.digest, **changes}
        return order(strategy=strategy(**terms), **plan)

    def begin(self, **changes: Any) -> None:  # noqa: ANN401 - of a plan
        """Open a private round, and let its inputs and its key come."""
        self.open(self.order(**changes))
        self.run_calls()

    def give_all(self, agents: tuple[str, ...] = (A, B, C)) -> None:
        """Offer the updates of these agents: 1, 2 and 3."""
        for agent in agents:
            self.give(agent, 1.0 + (A, B, C).index(agent))

    @property
    def entry(self) -> LedgerEntry:
        """The entry that the repository is asked to store."""
        ask = self.asks[keys.LedgerRequest(JOB, 1)]
        assert ask.to == REPOSITORY
        assert isinstance(ask.message, RecordNoise)
        return ask.message.entry

    def record(self, **changes: Any) -> NoiseRecorded:  # noqa: ANN401 - of the answer
        """Answer the request as the repository does."""
        request = self.asks.get(keys.LedgerRequest(JOB, 1))
        updates = None if request is None else request.message.entry.updates
        asked = NoiseRecorded(job=JOB, task=1, spent=SPENT, updates=updates)
        answer = replace(asked, **changes)
        self.receive(REPOSITORY, answer)
        self.run_calls()
        return answer

    def refuse(self, refusal: NoiseRefused) -> None:
        """Refuse the request as the repository does."""
        self.receive(REPOSITORY, replace(refusal, updates=self.entry.updates))

    def noise(self, entry: LedgerEntry) -> NDArray[np.float64]:
        """Return the nine numbers of a round's noise."""
        assert entry.updates is not None
        step = NoiseStep(round=entry.round, task=entry.task, updates=entry.updates)
        return KeyedNoise(self.noise_key, JOB, (step,), strategy()).normals(0, 9)

    def version(self) -> NDArray[np.float32]:
        """Return the numbers of the new version."""
        arrays = decode(self.out(self.commit), LAYOUT)
        return np.concatenate([arrays[tensor.name].ravel() for tensor in LAYOUT.tensors])
