"""Writer of flower_results.npz: rounds of updates, and what Flower makes of them.

    python -m venv flower && flower/bin/pip install flwr==1.13.1
    flower/bin/python tests/fedbus/strategies/reference/make_flower_results.py

The tests compare the aggregation rules with these results; Flower is no dependency of fedbus.
"""

from pathlib import Path

import numpy as np
from flwr.common import (
    Code,
    FitRes,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server.strategy import QFedAvg
from flwr.server.strategy.aggregate import (
    aggregate,
    aggregate_bulyan,
    aggregate_krum,
    aggregate_median,
    aggregate_trimmed_avg,
)
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESULTS = Path(__file__).parent / "flower_results.npz"
TENSORS = ((5, 8), (7,), (3, 1))
AGENTS = (3, 7, 10, 11, 25)
LOSS = 0.7
Q_PARAM = 0.2
QFFL_LEARNING_RATE = 0.1


def main() -> None:
    """Write the results of all rules for a round of each number of agents."""
    found = {}
    for agents in AGENTS:
        for name, array in results_of(np.random.default_rng(agents), agents).items():
            found[f"{agents}/{name}"] = array
    np.savez_compressed(RESULTS, **found)


def results_of(rng: np.random.Generator, agents: int) -> dict[str, Floats]:
    """Return a round's base, weights and examples, and the new weights by Flower's rules, flat."""
    numbers = sum(int(np.prod(shape)) for shape in TENSORS)
    base = rng.normal(size=numbers)
    weights = base + 0.1 * (rng.normal(size=numbers) + rng.normal(size=(agents, numbers)))
    examples = rng.integers(1, 500, agents)
    models = [split(each) for each in weights]
    results = [(model, int(n)) for model, n in zip(models, examples, strict=True)]
    equal = [(model, 1) for model in models]
    malicious = (agents - 3) // 2
    found = {
        "mean": aggregate(results),
        "median": aggregate_median(results),
        "trimmed-mean": aggregate_trimmed_avg(results, 0.2),
        "krum": aggregate_krum(results, malicious, 0),
        "multi-krum": aggregate_krum(equal, malicious, max(1, agents // 2)),
        "multi-krum-weighted": aggregate_krum(results, malicious, max(1, agents // 2)),
        "bulyan": aggregate_bulyan(list(results), (agents - 3) // 4, aggregate_krum, to_keep=0),
        "qfedavg": qfedavg(split(base), results),
    }
    flat = {name: np.concatenate([a.ravel() for a in arrays]) for name, arrays in found.items()}
    return {"base": base, "weights": weights, "examples": examples, **flat}


def qfedavg(base: list[Floats], results: list[tuple[list[Floats], int]]) -> list[Floats]:
    """Return what the strategy makes of a round; it takes one loss for all clients."""
    strategy = QFedAvg(
        q_param=Q_PARAM,
        qffl_learning_rate=QFFL_LEARNING_RATE,
        evaluate_fn=lambda _round, _weights, _config: (LOSS, {}),
    )
    strategy.pre_weights = base
    answers = [
        (object(), FitRes(Status(Code.OK, ""), ndarrays_to_parameters(weights), examples, {}))
        for weights, examples in results
    ]
    parameters, _ = strategy.aggregate_fit(2, answers, [])
    new: list[Floats] = parameters_to_ndarrays(parameters)
    return new


def split(flat: Floats) -> list[Floats]:
    """Return a model's tensors."""
    ends = np.cumsum([np.prod(shape) for shape in TENSORS])[:-1]
    return [part.reshape(s) for part, s in zip(np.split(flat, ends), TENSORS, strict=True)]


if __name__ == "__main__":
    main()
