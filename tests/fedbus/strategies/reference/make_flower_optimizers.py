"""Writer of flower_optimizers.npz: rounds of updates, and what Flower's server strategies do.

    python -m venv flower && flower/bin/pip install flwr==1.13.1
    flower/bin/python tests/fedbus/strategies/reference/make_flower_optimizers.py

The tests compare the server optimizers with these results; Flower is no dependency of fedbus.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from flwr.common import (
    Code,
    FitRes,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedOpt, FedYogi
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESULTS = Path(__file__).parent / "flower_optimizers.npz"
ROUNDS = 8
AGENTS = 5
NUMBERS = 12
STRATEGIES: Final[dict[str, tuple[Callable[..., FedAvg], dict[str, float]]]] = {
    "fedopt": (FedOpt, {}),
    "fedavgm": (FedAvgM, {"server_learning_rate": 0.7, "server_momentum": 0.8}),
    "fedadagrad": (FedAdagrad, {"eta": 0.2, "tau": 0.01}),
    "fedadam": (FedAdam, {"eta": 0.2, "beta_1": 0.8, "beta_2": 0.95, "tau": 0.01}),
    "fedyogi": (FedYogi, {"eta": 0.2, "beta_1": 0.8, "beta_2": 0.95, "tau": 0.01}),
}


def main() -> None:
    """Write the first weights, all updates and examples, and the weights after each round."""
    rng = np.random.default_rng(5)
    base = rng.normal(size=NUMBERS)
    common = rng.normal(size=(ROUNDS, 1, NUMBERS))
    updates = 0.1 * (common + rng.normal(size=(ROUNDS, AGENTS, NUMBERS)))
    examples = rng.integers(1, 500, (ROUNDS, AGENTS))
    found = {"base": base, "updates": updates, "examples": examples}
    for name, (strategy, parameters) in STRATEGIES.items():
        found[name] = weights_of(
            strategy(initial_parameters=_packed(base), **parameters), base, updates, examples
        )
    np.savez_compressed(RESULTS, **found)


def weights_of(
    strategy: FedAvg, base: Floats, updates: Floats, examples: NDArray[np.int64]
) -> Floats:
    """Return the weights after each round, shape (rounds, numbers)."""
    weights, found = base, []
    for number, (each, counts) in enumerate(zip(updates, examples, strict=True), start=1):
        results = [
            (None, FitRes(Status(Code.OK, ""), _packed(weights + update), int(count), {}))
            for update, count in zip(each, counts, strict=True)
        ]
        parameters, _metrics = strategy.aggregate_fit(number, results, [])
        weights = np.concatenate([array.ravel() for array in parameters_to_ndarrays(parameters)])
        found.append(weights)
    return np.array(found)


def _packed(flat: Floats) -> Parameters:
    """Return a model of two tensors."""
    return ndarrays_to_parameters([flat[:8].reshape(4, 2), flat[8:]])


if __name__ == "__main__":
    main()
