"""Fleet whose privacy is planned, and a mechanism with the noise that it needs there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from fedbus.privacy.accounting import epsilon_of
from fedbus.privacy.ledger import planned_composition
from fedbus.wire.privacy import PrivacyTerms

CURVE_FACTORS: Final = (0.25, 0.4, 0.6, 1.0, 1.6, 2.5, 4.0)
"""Noise multipliers of a curve, as multiples of the calibrated one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplePlan:
    """Training of an agent with DP-SGD: the fewest examples, the batch size, epochs of a round."""

    examples: int
    batch: int
    epochs: int
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFleet:
    """The agents that train, and the ε and δ that the whole job may have.

    `away` is the share of agents that may be missing at a time, which banded noise must allow for.
    """

    agents: int
    cohort: int
    rounds: int
    epsilon: float
    delta: float
    accountant: Literal["rdp", "pld"] = "pld"
    away: float = 0.1
    clipping_norm: float = 1.0
    training: ExamplePlan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMechanism:
    """A mechanism with the least noise for the wanted ε.

    Attributes:
        name: What it is called in the plan.
        terms: What a job promises with it.
        participations: Most rounds in which one agent takes part, which ε is computed for.
        noise_multiplier: The value for the job file.
        deviation: Standard deviation of the noise in the mean of the updates, of each number,
            divided by the clipping norm; for DP-SGD in the mean gradient of a batch.
        path_error: Root mean square, over the rounds, of the deviation in the sum of all means so
            far; None for DP-SGD.
        job: The keys of the job file.
        note: What the figures depend on.
    """

    name: str
    terms: PrivacyTerms
    participations: int
    noise_multiplier: float
    deviation: float
    path_error: float | None
    job: Mapping[str, Any]
    note: str

    def curve(self, rounds: int) -> Iterator[tuple[float, float]]:
        """Yield ε, and the error of the path that goes with it, from little noise to much."""
        if self.path_error is None:
            return
        for factor in CURVE_FACTORS:
            terms = replace(self.terms, noise_multiplier=self.terms.noise_multiplier * factor)
            epsilon = epsilon_of(terms, planned_composition(terms, rounds, self.participations))
            if epsilon:
                yield epsilon, self.path_error * factor
