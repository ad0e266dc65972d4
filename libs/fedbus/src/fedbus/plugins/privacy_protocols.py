"""Protocols of a privacy mechanism: an update transform with a half at agents or at the collector.

A mechanism is registered as an update transform, and chosen by its key in the job file's
`privacy-mechanisms`; `fedbus.strategies.privacy_terms` states what it promises. It is the last
transform on the agent and the first one at the collector: what is done before the one and after the
other changes no ε.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fedbus.model.layout import Weights
from fedbus.plugins.strategy_protocols import Block, Combined, UpdateFacts


class SecretNoise(Protocol):
    """Random numbers of a cryptographic generator with a fresh key, drawn by an agent."""

    def normals(self, count: int, /) -> Block:
        """Return independent numbers of the standard normal distribution, shape (count,)."""
        ...

    def uniforms(self, count: int, /) -> Block:
        """Return independent numbers of the uniform distribution, above 0 and below 1."""
        ...


class RoundNoise(Protocol):
    """Noise of one round: a function of the collectors' key, of the task and of its updates.

    The same arguments give the same numbers; no process without the key can compute them.

    Attributes:
        step: Number of the job's earlier ledger entries, whose noise banded noise needs again.
    """

    step: int

    def normals(self, start: int, count: int, /, back: int = 0) -> Block:
        """Return numbers of the standard normal distribution, shape (count,).

        Args:
            start: Position of the first number among all numbers of the model's trained tensors.
            count: How many.
            back: How many ledger entries ago the noise was drawn: 0 for this round, at most `step`.
        """
        ...

    def normal(self, name: str, /) -> float:
        """Return one further number, which differs by its name, such as for a count."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateTraining:
    """What an agent's half of a privacy mechanism knows.

    Attributes:
        noise: The source of noise.
        numbers: Those of the strategy's state, such as an adaptive clipping norm; none in the first
            round.
        cohort: The number of agents wanted in a round.
    """

    noise: SecretNoise
    numbers: Mapping[str, float] = field(default_factory=dict)
    cohort: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateUpdate:
    """An update that may leave the agent, and what adaptive clipping needs beside it.

    Attributes:
        update: Arrays of the same names, shapes and dtypes as the given update.
        norm_bit: 1 if the update was not longer than the clipping norm, else 0; noised if agents
            draw the noise. None if the mechanism needs none.
    """

    update: Weights
    norm_bit: float | None = None


@runtime_checkable
class ProtectsUpdate(Protocol):
    """The agent's half of a privacy mechanism: it bounds an update, and may add noise."""

    def protect(self, update: Weights, training: PrivateTraining, /) -> PrivateUpdate:
        """Return the update that may leave the agent.

        Args:
            update: The differences of the floating-point tensors of the role `weight`, after all
                other transforms; do not change them.
            training: What the mechanism knows.

        Raises:
            TrainingError: The update has no finite norm.
        """
        ...


@runtime_checkable
class StatesBound(Protocol):
    """An agent's half that says how great the numbers of a protected update may be.

    The ranges of encrypted and masked updates are readable. So where the noise of one agent alone
    does not hide its update, they follow from this bound, not from the update.
    """

    def public_bound(self, numbers: Mapping[str, float], /) -> float:
        """Return a bound that nearly no number of a protected update exceeds, above 0.

        Args:
            numbers: Those of the strategy's state before the round.
        """
        ...


@runtime_checkable
class ProtectsCombined(Protocol):
    """The collector's half of a privacy mechanism: it adds noise to the combined update.

    It has the attribute `noise_multiplier`, a float: the one that protects an agent, which must not
    be below that of the job's privacy terms.

    Optional attributes, False if left out:

    - `needs_norm`: the collector measures each update: `UpdateFacts.norm`, float64, over all
      trained tensors, L2
    - `needs_combined_norm`: it measures the combined update: `Combined.norm`
    - `needs_distance`: it measures the greatest distance of two updates: `Combined.distance`, the
      mean over the trained tensors of the L2 distances of two updates; 0 for one update
    - `collector_draws_noise`: it needs the collectors' key, and a ledger entry before it is called
    """

    def refuses_update(self, facts: UpdateFacts, numbers: Mapping[str, float], /) -> str:
        """Return why an update breaks a bound that the agent had to keep, or ""."""
        ...

    def next_private_numbers(
        self,
        numbers: Mapping[str, float],
        facts: Sequence[UpdateFacts],
        noise: RoundNoise | None,
        /,
    ) -> Mapping[str, float]:
        """Return the numbers that change, as `KeepsNumbers.next_numbers` does."""
        ...

    def add_noise(self, combined: Combined, noise: RoundNoise | None, /) -> Block:
        """Return the new `combined.update`, shape (numbers,); the given one is read-only.

        Args:
            combined: A block of the combined update; its first number is at `combined.position`.
            noise: None unless the mechanism `collector_draws_noise`.
        """
        ...


PrivacyMechanism = ProtectsUpdate | ProtectsCombined
