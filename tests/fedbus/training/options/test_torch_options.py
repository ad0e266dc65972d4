"""The table of PyTorch's arguments is what PyTorch says."""

import inspect

import pytest

from fedbus.training.options import FRAMEWORKS
from fedbus.training.options.torch_options import MADE_OF_PARTS, OPTIMIZERS, SCHEDULERS

torch = pytest.importorskip("torch")

IMPLEMENTATION = {"self", "params", "lr", "capturable", "differentiable", "fused"}
LATER = {"decoupled_weight_decay"}
"""Not among aerOS's 47; adamw is adam with it."""
OURS = {"monitor"}
CODE = {"scale_fn", "scale_mode"}


def arguments_of(module: object, name: str) -> set[str]:
    """Read a class's arguments, whatever the case of its name."""
    (kind,) = {v for k, v in vars(module).items() if k.lower() == name and inspect.isclass(v)}
    return set(inspect.signature(kind.__init__).parameters)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_argument_of_an_optimizer_is_in_the_table(name: str) -> None:
    """And no other."""
    known = arguments_of(torch.optim, name) - IMPLEMENTATION - LATER
    assert known == set(OPTIMIZERS[name])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_argument_of_a_scheduler_is_in_the_table(name: str) -> None:
    """And no other; those made of others get them from the file.

    A cycle that begins late needs a value that the optimizer does not have.
    """
    known = arguments_of(torch.optim.lr_scheduler, name) - {"self", "optimizer", "schedulers"}
    never = {"last_epoch"} if name in MADE_OF_PARTS | {"onecyclelr"} else set()
    assert known - CODE - never == set(SCHEDULERS[name]) - OURS


def test_the_frameworks_table_is_the_one_above() -> None:
    """One truth."""
    assert FRAMEWORKS["torch"].optimizers is OPTIMIZERS
