"""Server optimizers, compared with the strategies of Flower 1.13.1 over eight rounds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import tests.fedbus.strategies.reference
from fedbus.plugins import Combined, ServerOptimizer
from fedbus.strategies.server_optimizers.adagrad import Adagrad
from fedbus.strategies.server_optimizers.adam import Adam
from fedbus.strategies.server_optimizers.momentum import Momentum
from fedbus.strategies.server_optimizers.sgd import Sgd
from fedbus.strategies.server_optimizers.yogi import Yogi
from tests.fedbus.strategies.federation import Vector

REFERENCE = Path(next(iter(tests.fedbus.strategies.reference.__path__))) / "flower_optimizers.npz"
ROUNDS = 8


@pytest.fixture(name="written", scope="module")
def read_reference() -> dict[str, NDArray[np.float64]]:
    """Return what make_flower_optimizers.py wrote."""
    with np.load(REFERENCE) as file:
        return {name: file[name] for name in file.files}


def weights_of(
    optimizers: Sequence[ServerOptimizer], written: dict[str, NDArray[np.float64]], first_round: int
) -> Vector:
    """Return the weights after each round; each round has its optimizer, with the same state."""
    weights, found = written["base"], []
    state = {name: np.zeros_like(weights) for name in getattr(optimizers[0], "state", ())}
    for number, optimizer in enumerate(optimizers):
        examples = written["examples"][number]
        update = examples @ written["updates"][number] / examples.sum()
        combined = Combined(update=update, agents=len(examples), round=first_round + number)
        weights = optimizer.apply(weights, combined, state)
        found.append(weights)
    return np.array(found)


@pytest.mark.parametrize(
    ("strategy", "optimizer"),
    [
        ("fedopt", Sgd()),  # Flower's FedOpt alone averages: its eta is for those that inherit it
        ("fedavgm", Momentum(server_learning_rate=0.7, server_momentum=0.8)),
    ],
)
def test_sgd_and_momentum(
    strategy: str, optimizer: ServerOptimizer, written: dict[str, NDArray[np.float64]]
) -> None:
    """In float64, so that nothing but the order of operations differs."""
    found = weights_of([optimizer] * ROUNDS, written, first_round=1)
    np.testing.assert_allclose(found, written[strategy], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("strategy", "optimizer"),
    [
        ("fedadagrad", Adagrad(server_learning_rate=0.2, tau=0.01)),
        ("fedyogi", Yogi(server_learning_rate=0.2, beta_1=0.8, beta_2=0.95, tau=0.01)),
    ],
)
def test_adagrad_and_yogi(
    strategy: str, optimizer: ServerOptimizer, written: dict[str, NDArray[np.float64]]
) -> None:
    """Flower's second moment begins at 0, the paper's at tau squared.

    That is the only difference, so ours is called as in a second round, with a state of zeros.
    """
    found = weights_of([optimizer] * ROUNDS, written, first_round=2)
    np.testing.assert_allclose(found, written[strategy], rtol=1e-12, atol=1e-13)


def test_adam(written: dict[str, NDArray[np.float64]]) -> None:
    """Flower's also multiplies the rate by the correction of Kingma and Ba 2014, section 2.

    The paper of FedAdam has no correction. In round t Flower's is that of step t + 1.
    """
    correction = [np.sqrt(1 - 0.95 ** (t + 1)) / (1 - 0.8 ** (t + 1)) for t in range(1, ROUNDS + 1)]
    optimizers = [
        Adam(server_learning_rate=0.2 * each, beta_1=0.8, beta_2=0.95, tau=0.01)
        for each in correction
    ]
    found = weights_of(optimizers, written, first_round=2)
    np.testing.assert_allclose(found, written["fedadam"], rtol=1e-12, atol=1e-13)
