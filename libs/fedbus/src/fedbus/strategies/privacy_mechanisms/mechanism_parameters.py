"""Checks of the parameters that privacy mechanisms share, and of updates against a limit. Pure."""

from typing import Final, Literal

from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.plugins import UpdateFacts
from fedbus.strategies.number_parameters import MOST, positive, whole

BoundedBy = Literal["mean", "norm"]
"""What bounds the change that one agent makes in the combined update, set by the controller:

- "mean": the aggregator is the equally weighted mean, whose divisor is the number of agents wanted,
  n: the change is at most C / n
- "norm": it is any other one, and the mechanism clips the combined update to C: the change is at
  most 2C, whatever the aggregator does. The noise stays noise_multiplier * C / n, so what protects
  is a noise multiplier of noise_multiplier / (2n)
"""

LEAST_NOISE: Final = 1e-3
"""The least noise multiplier: less protects nothing, and ε could not be computed."""
LEAST_NORM: Final = 1e-12
"""The least clipping norm: float32 has enough numbers below it."""
MOST_NORM: Final = MOST
MOST_EPSILON: Final = 1e4
"""The greatest ε of an agent's update; more protects nothing."""


def checked_noise_multiplier(value: float) -> float:
    """Return a checked noise multiplier; raise ValueError unless it is in [LEAST_NOISE, MOST]."""
    number = positive("noise_multiplier", value)
    if number < LEAST_NOISE:
        raise ValueError(
            f"noise_multiplier: expected at least {LEAST_NOISE:g}, got {value!r}: less noise "
            "protects nothing"
        )
    return number


def clipping_norm_of(value: float, name: str = "clipping_norm") -> float:
    """Return a checked clipping norm; raise ValueError unless it is in [LEAST_NORM, MOST_NORM]."""
    number = positive(name, value, most=MOST_NORM)
    if number < LEAST_NORM:
        raise ValueError(f"{name}: expected at least {LEAST_NORM:g}, got {value!r}")
    return number


def agents_wanted(value: int) -> int:
    """Return a checked number of agents wanted in a round, the divisor of means."""
    return whole("num_sampled_clients", value, least=1, most=MAX_COHORT_AGENTS)


def checked_epsilon(value: float, most: float = MOST_EPSILON) -> float:
    """Return a checked ε; raise ValueError unless it is above 0 and at most `most`."""
    return positive("epsilon", value, most=most)


def clips_combined(bounded_by: str, *, server_side_noising: bool) -> bool:
    """Return whether the mechanism clips the combined update.

    Raises:
        ValueError: `bounded_by` is unknown, or agents would draw the noise and the aggregator is
            not the mean: their noise adds up in a sum only.
    """
    if bounded_by not in {"mean", "norm"}:
        raise ValueError(f"bounded_by: expected 'mean' or 'norm', got {bounded_by!r}")
    if bounded_by == "norm" and not server_side_noising:
        raise ValueError(
            "server_side_noising: expected true, got false: the noise of agents adds up to the "
            "accounted noise in a mean only; with another aggregator the collector draws it"
        )
    return bounded_by == "norm"


def accounted_multiplier(multiplier: float, agents: int, *, clips: bool) -> float:
    """Return the noise multiplier that protects an agent: see `BoundedBy`."""
    return multiplier / (2 * agents) if clips else multiplier


def norm_fault(facts: UpdateFacts, limit: float) -> str:
    """Return why an update is not within the limit that its agent had to keep, or ""."""
    if facts.norm is None:
        return "the norm of its update was not measured"
    if facts.norm <= limit:
        return ""
    return (
        f"its update has the norm {facts.norm:.6g}, and the limit is {limit:.6g}: the agent did "
        "not clip it"
    )
