"""Differential privacy with banded noise (DP-FTRL by banded matrix factorization). Pure.

N. Kalinin, C. Lampert, 2024, arXiv 2405.13763; C. A. Choquette-Choo et al., 2023, arXiv 2306.08153;
`fedbus.privacy.banded` states the equations. With the clipping norm C, the noise multiplier
sigma, the sensitivity s of an agent's participations, and n agents wanted, in step t:

    agent:      Δ_i ← Δ_i · min(1, C / ||Δ_i||)
    collector:  Δ ← (Σ_i Δ_i + sigma C s Σ_k d_k z_(t-k)) / n,   z_j ~ N(0, I)
"""

from typing import Final

from fedbus.plugins import Block, Combined, RoundNoise
from fedbus.privacy.banded import (
    banded_cost_fault,
    banded_noise,
    banded_sensitivity,
    inverse_coefficients,
)
from fedbus.privacy.noise_numbers import Numbers
from fedbus.strategies.number_parameters import whole
from fedbus.strategies.privacy_mechanisms.fixed_norm import FixedNorm
from fedbus.strategies.privacy_mechanisms.mechanism_parameters import (
    BoundedBy,
    accounted_multiplier,
    agents_wanted,
    checked_noise_multiplier,
    clips_combined,
)
from fedbus.strategies.privacy_mechanisms.noised_update import given_noise, noised_block

MOST_STEPS: Final = 100_000
"""The greatest number of steps, of bands and of participations."""


class BandedNoise(FixedNorm):
    """Clips each update to a fixed norm; adds noise that later rounds partly take back.

    Args:
        noise_multiplier: sigma: what the noise of the whole job protects an agent with.
        clipping_norm: The greatest L2 norm of an update; longer ones are scaled down to it.
        num_sampled_clients: Number of agents wanted in a round: the divisor of the mean.
        min_separation: Fewest steps between two participations of an agent, plus 1: with 1 an agent
            may take part in consecutive rounds.
        max_participations: Most rounds in which one agent takes part.
        bands: Rounds over which noise is correlated: at most, and by default, min_separation.
        bounded_by: Set by the controller, not by a job; see `BoundedBy`.

    Attributes:
        noise_multiplier: The one that protects an agent; see `BoundedBy`.
    """

    collector_draws_noise = True

    def __init__(  # noqa: PLR0913 - the parameters that a job gives
        self,
        *,
        noise_multiplier: float,
        clipping_norm: float,
        num_sampled_clients: int,
        min_separation: int,
        max_participations: int,
        bands: int | None = None,
        bounded_by: BoundedBy = "mean",
    ) -> None:
        super().__init__(clipping_norm)
        multiplier = checked_noise_multiplier(noise_multiplier)
        self._agents: Final = agents_wanted(num_sampled_clients)
        separation = whole("min_separation", min_separation, least=1, most=MOST_STEPS)
        participations = whole("max_participations", max_participations, least=1, most=MOST_STEPS)
        self.bands: Final = separation if bands is None else _bands_within(bands, separation)
        self._std: Final = (
            multiplier * self._norm * banded_sensitivity(self.bands, participations) / self._agents
        )
        self.needs_combined_norm = clips_combined(bounded_by, server_side_noising=True)
        self.noise_multiplier = accounted_multiplier(
            multiplier, self._agents, clips=self.needs_combined_norm
        )
        self._inverse: Numbers = inverse_coefficients(self.bands, 1)

    def add_noise(self, combined: Combined, noise: RoundNoise | None, /) -> Block:
        """Return the mean with the noise of this step and its share of all earlier ones."""
        drawn, count = given_noise(noise), len(combined.update)
        if fault := banded_cost_fault(drawn.step + 1, combined.position + count):
            raise ValueError(fault)

        def normals(back: int) -> Numbers:
            return drawn.normals(combined.position, count, back=back)

        drawn_noise = banded_noise(normals, self._inverse_of(drawn.step))
        return noised_block(self._bounded(combined), self._std, drawn_noise)

    def _inverse_of(self, step: int) -> Numbers:
        """Return d_0 to d_step; all blocks of a round share them."""
        if len(self._inverse) != step + 1:
            self._inverse = inverse_coefficients(self.bands, step + 1)
        return self._inverse


def _bands_within(bands: int, separation: int) -> int:
    checked = whole("bands", bands, least=1, most=MOST_STEPS)
    if checked > separation:
        raise ValueError(
            f"bands: expected at most min_separation = {separation}, got {bands}: with more the "
            "noise of an agent's participations would overlap"
        )
    return checked
