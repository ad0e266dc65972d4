"""Optimizer slots agree with those of the frameworks' own optimizers."""

from typing import Any

import numpy as np
import pytest

from fedbus.training.options import FRAMEWORKS, peak_state_slots, state_slots
from fedbus.training.options import keras_options as for_keras
from fedbus.training.options import torch_options as for_torch
from fedbus.training.params import Argument

CASES: list[tuple[str, dict[str, Argument]]] = [
    *((name, {}) for name in for_torch.OPTIMIZERS),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.0}),
    ("rmsprop", {"momentum": 0.9}),
    ("rmsprop", {"momentum": 0.9, "centered": True}),
    ("adam", {"amsgrad": True}),
    ("adamw", {"amsgrad": False}),
    ("lbfgs", {"history_size": 3}),
]


def kept_by_torch(name: str, args: dict[str, Any]) -> int:
    """Count the numbers that an optimizer of PyTorch keeps after some steps, for each weight."""
    torch: Any = pytest.importorskip("torch")
    (kind,) = {v for k, v in vars(torch.optim).items() if k.lower() == name and isinstance(v, type)}
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 1000))
    optimizer = kind([weight], **args)

    def closure() -> Any:  # noqa: ANN401 - a tensor
        optimizer.zero_grad()
        loss = (weight**4).sum() + weight.cos().sum()
        loss.backward()
        if name == "sparseadam":
            weight.grad = weight.grad.to_sparse()
        return loss

    for _ in range(20):
        optimizer.step(closure)
    numbers = 0
    for value in optimizer.state[weight].values():
        parts = value if isinstance(value, list) else [value]
        numbers += sum(part.numel() for part in parts if torch.is_tensor(part) and part.numel() > 1)
    return numbers // 1000


@pytest.mark.parametrize(("name", "args"), CASES)
def test_torchs_optimizers_keep_what_the_table_says(name: str, args: dict[str, Any]) -> None:
    """No more, and of LBFGS's history the most that there can be."""
    found, said = kept_by_torch(name, args), state_slots(name, args)
    if name == "lbfgs":
        assert 2 < found <= said, (found, said)
    else:
        assert found == said


@pytest.mark.parametrize(
    ("name", "args"),
    [
        *((name, {}) for name in for_keras.OPTIMIZERS),
        ("sgd", {"momentum": 0.9}),
        ("rmsprop", {"momentum": 0.9, "centered": True}),
        ("adam", {"amsgrad": True}),
        ("adagrad", {"use_ema": True}),
    ],
)
def test_kerass_optimizers_keep_what_the_table_says(name: str, args: dict[str, Any]) -> None:
    """The moving average of the weights included."""
    keras: Any = pytest.importorskip("keras")
    found = vars(keras.optimizers).items()
    (kind,) = {v for k, v in found if k.lower() == name and isinstance(v, type)}
    optimizer = kind(**args)
    optimizer.build([keras.Variable([0.0] * 100)])
    numbers = sum(int(np.prod(variable.shape)) for variable in optimizer.variables)
    assert numbers // 100 == state_slots(name, args)


def test_an_unknown_optimizer_keeps_no_state() -> None:
    """All that we know are in the table."""
    assert state_slots("own", {"amsgrad": True}) == 0
    every = {name for framework in FRAMEWORKS.values() for name in framework.optimizers}
    assert {name for name in every if not state_slots(name, {})} == {"sgd"}


@pytest.mark.parametrize(
    ("name", "args", "keep_state", "numbers"),
    [
        ("sgd", {}, True, 0),
        ("adam", {}, False, 2),
        ("adam", {}, True, 4),
        ("sparseadam", {}, False, 12),
        ("lbfgs", {}, False, 209),
        ("lbfgs", {"history_size": 2}, True, 20),
    ],
)
def test_an_optimizer_needs_room_for_more_than_it_keeps(
    name: str, args: dict[str, Any], keep_state: bool, numbers: int
) -> None:
    """What goes to the next round, and what a step takes."""
    assert peak_state_slots(name, args, keep_state=keep_state) == numbers
