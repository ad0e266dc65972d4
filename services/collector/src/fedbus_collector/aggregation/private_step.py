"""A privacy mechanism's part in a round: it is the first that gets the combined update. Pure.

What comes after it may know nothing else that depends on the updates, or ε would not cover it: no
facts, no norm, and not the number of updates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fedbus.plugins import Combined, RoundNoise, UpdateFacts
from fedbus.plugins.privacy_mechanism_calls import PrivacyMechanismCalls


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateStep:
    """A mechanism, and the noise of this round.

    Attributes:
        mechanism: The half at the collector.
        noise: None unless the mechanism draws noise here.
        cohort: The number of agents wanted, which later parts get as that of the updates.
    """

    mechanism: PrivacyMechanismCalls
    noise: RoundNoise | None
    cohort: int

    def next_numbers(
        self, numbers: Mapping[str, float], facts: Sequence[UpdateFacts]
    ) -> dict[str, float]:
        """Return the numbers of the strategy's state that hold in this round."""
        return self.mechanism.next_numbers(numbers, facts, self.noise)

    def apply(self, combined: Combined) -> Combined:
        """Return the block with its noise, and without what only the mechanism may know."""
        noised = self.mechanism.add_noise(combined, self.noise)
        return replace(noised, agents=self.cohort, norm=None, distance=None)
