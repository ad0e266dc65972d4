"""Server optimizers a second time, on whole arrays: what the oracle expects of a version. Pure.

Written from the papers, and without `strategies`, so that one mistake is not made twice. They
change nothing that they are given, and compute in float64; a collector stores state as float32.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.plugins import Combined
from fedbus.training.params import PluginChoice

Vector = NDArray[np.float64]
State = Mapping[str, Vector]
Stepped = tuple[Vector, State]
"""The new weights, and the new state."""
Parameters = Mapping[str, float]
"""A server optimizer's parameters, defaults included."""
Reference = Callable[[Vector, Combined, State, Parameters], Stepped]


def reference_step(
    choice: PluginChoice | None, base: Vector, combined: Combined, state: State
) -> Stepped | None:
    """Return the new weights and state by a record's server optimizer; None if it is not ours.

    Args:
        choice: The server optimizer with all its parameters; None: the update is added.
        base: All trained numbers of the base version.
        combined: The combined update and sections, each as long as `base`.
        state: The state of the base version; zeros in the first round.
    """
    if choice is None:
        return base + combined.update, {}
    reference = REFERENCE_OPTIMIZERS.get(choice.id)
    if reference is None:
        return None
    numbers = {
        name: float(value)
        for name, value in choice.parameters.items()
        if isinstance(value, int | float)
    }
    return reference(base, combined, state, numbers)


def _fedopt_sgd(base: Vector, combined: Combined, _state: State, own: Parameters) -> Stepped:
    """Reddi et al. 2021, arXiv 2003.00295, algorithm 1."""
    return base + own["server_learning_rate"] * combined.update, {}


def _fedavgm(base: Vector, combined: Combined, state: State, own: Parameters) -> Stepped:
    """Hsu et al. 2019, arXiv 1909.06335."""
    velocity = own["server_momentum"] * state["momentum"] + combined.update
    return base + own["server_learning_rate"] * velocity, {"momentum": velocity}


def _adaptive(second: str, next_second: Callable[[Vector, Vector, float], Vector]) -> Reference:
    """Return Reddi et al. 2021, arXiv 2003.00295, algorithm 2, by v_t of v_{t-1}, delta, beta_2."""

    def step(base: Vector, combined: Combined, state: State, own: Parameters) -> Stepped:
        start = combined.round == 1
        previous = np.full_like(base, own["tau"] ** 2) if start else state[second]
        m = (1 - own["beta_1"]) * combined.update
        kept = {}
        if "first_moment" in state:
            m = m + own["beta_1"] * state["first_moment"]
            kept["first_moment"] = m
        v = next_second(previous, combined.update, own.get("beta_2", 0.0))
        direction = m / (np.sqrt(v) + own["tau"])
        return base + own["server_learning_rate"] * direction, {**kept, second: v}

    return step


def _scaffold(base: Vector, combined: Combined, state: State, own: Parameters) -> Stepped:
    """Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1, lines 16 and 17."""
    added = combined.sections["control"] * combined.agents  # the sum over the cohort
    control = state["control"] + added / combined.population
    return base + own["server_learning_rate"] * combined.update, {"control": control}


def _feddyn(base: Vector, combined: Combined, state: State, own: Parameters) -> Stepped:
    """Acar et al. 2021, arXiv 2111.04263, algorithm 1."""
    moved = combined.agents * combined.update  # the sum over the cohort
    h = state["mean_gradient"] - own["alpha"] / combined.population * moved
    mean_model = base + combined.update
    return mean_model - h / own["alpha"], {"mean_gradient": h}


def _adagrad_v(v: Vector, delta: Vector, _beta_2: float) -> Vector:
    return v + delta * delta


def _adam_v(v: Vector, delta: Vector, beta_2: float) -> Vector:
    return v + (1 - beta_2) * (delta * delta - v)


def _yogi_v(v: Vector, delta: Vector, beta_2: float) -> Vector:
    square = delta * delta
    change = (1 - beta_2) * square
    return np.where(v > square, v - change, np.where(v < square, v + change, v))


REFERENCE_OPTIMIZERS: Final[Mapping[str, Reference]] = {
    "adagrad": _adaptive("sum_of_squares", _adagrad_v),
    "adam": _adaptive("second_moment", _adam_v),
    "feddyn": _feddyn,
    "momentum": _fedavgm,
    "scaffold": _scaffold,
    "sgd": _fedopt_sgd,
    "yogi": _adaptive("second_moment", _yogi_v),
}
"""By the id of the server optimizer."""
