"""Accuracy of MistNet on handwritten digits, over all services in one process.

    python -m benchmarks.mistnet_digits           print the table of docs/mistnet.md
    python -m benchmarks.mistnet_digits --features 16   and a table of another number of features

Three agents have 300 images of 8 x 8 pixels each; one agent trains on their features. The first
layer of the `mlp` is drawn at random, or was trained on 400 further images, as if these were
public. Held out are 497 images. Needs PyTorch and scikit-learn.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean
from typing import Any, Final

import numpy as np
from sklearn.datasets import load_digits

from fedbus.client.packed_model import PackedModel, packed
from fedbus.data import Dataset, from_arrays
from fedbus.frameworks.torch import TorchTrainer
from fedbus.simulation.run import SimulationResult, simulate
from fedbus.training.params import TrainingParams

WIDTH: Final = 256
"""Features of an example: outputs of the first layer."""
ROUNDS: Final = 6
EPOCHS: Final = 5
_PUBLIC, _HELD_OUT = 400, 1300
_PRETRAINING: Final = TrainingParams(epochs=30, optimizer="adam", learning_rate=0.001)


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table: whether the features are bits, and the first layer was trained."""

    said: str
    bits: bool
    pretrained: bool


CASES: Final = (
    Case("random first layer, bits", bits=True, pretrained=False),
    Case("random first layer, ReLU", bits=False, pretrained=False),
    Case("first layer of other images, bits", bits=True, pretrained=True),
    Case("first layer of other images, ReLU", bits=False, pretrained=True),
)
EPSILONS: Final = (100.0, 8.0, 4.0, 2.0, 1.0)


class Digits:
    """Images and labels of one seed, and a model for them."""

    def __init__(self, seed: int, case: Case, width: int = WIDTH) -> None:
        x, y = load_digits(return_X_y=True)
        self._x, self._y = (x / 16).astype(np.float32), y.astype(np.int64)
        self._order = np.random.default_rng(seed).permutation(len(x))
        config = {"layers": [64, width, 64, 10], "seed": seed, "bits_after": int(case.bits)}
        architecture = {"name": "mlp", "config": config}
        trainer = TorchTrainer(architecture)
        self.weights = trainer.initial()
        if case.pretrained:
            self.weights = trainer.train(self.weights, self.public, _PRETRAINING).weights
        score = trainer.evaluate(self.weights, self.held_out, _PRETRAINING)
        self.before = score["accuracy"]
        plain = {"model": "digits", "architectures": {"torch": architecture}}
        self.model: PackedModel = packed(plain, self.weights, {}, trainer.roles())

    def _rows(self, chosen: np.ndarray[Any, Any]) -> Dataset:
        return from_arrays(self._x[chosen], self._y[chosen])

    @property
    def public(self) -> Dataset:
        """Images that no agent has."""
        return self._rows(self._order[:_PUBLIC])

    @property
    def held_out(self) -> Dataset:
        """Images that measure the accuracy."""
        return self._rows(self._order[_HELD_OUT:])

    @property
    def agents(self) -> dict[str, Dataset]:
        """The images of each agent with data; the one that trains needs some, and uses none."""
        parts = np.array_split(self._order[_PUBLIC:_HELD_OUT], 3)
        data = {f"a{number}": self._rows(part) for number, part in enumerate(parts)}
        return {**data, "big": self._rows(self._order[:20])}


def run(
    digits: Digits, epsilon: float | None, rounds: int = ROUNDS, width: int = WIDTH
) -> SimulationResult:
    """Run a job: with MistNet, or without an `epsilon` as FedAvg of the same agents."""
    mistnet = {"cut_layer": 1, "epsilon": epsilon, "features": width, "trainers": ["agent.big"]}
    job: dict[str, Any] = {
        "training_id": "digits",
        "model_name": "digits",
        "num_rounds": rounds,
        "config": [{"epochs": EPOCHS}],
        "optimizer_config": {"optimizer": "adam", "lr": 0.001},
        "round": {"agents": 3, "quorum": 3},
    }
    agents = digits.agents
    if epsilon is None:
        del agents["big"]
    else:
        job["privacy-mechanisms"] = {"mistnet": mistnet}
    return simulate(job, digits.model, agents, held_out=digits.held_out)


def table(seeds: int, width: int) -> Iterator[str]:
    """Yield the lines of the table."""
    heads = [f"ε {epsilon:g}" for epsilon in EPSILONS]
    yield f"| model | before | {' | '.join(heads)} | FedAvg, no privacy |"
    yield "|---" * (len(heads) + 3) + "|"
    for case in CASES:
        found = [Digits(seed, case, width) for seed in range(seeds)]
        cells = [mean(each.before for each in found)]
        for epsilon in (*EPSILONS, None):
            scores = (run(each, epsilon, ROUNDS, width).state.metrics["accuracy"] for each in found)
            cells.append(mean(scores))
        yield f"| {case.said} | {' | '.join(f'{100 * cell:.1f} %' for cell in cells)} |"


def main() -> None:
    """Print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--features", type=int, default=WIDTH)
    options = parser.parse_args()
    for line in table(options.seeds, options.features):
        print(line, flush=True)


if __name__ == "__main__":
    main()
