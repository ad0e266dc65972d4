"""First weights that come of a seed."""

import random
import subprocess
import sys
from itertools import repeat

import numpy as np
import pytest

from fedbus.cli.inputs.random_seeds import seeded
from fedbus.client.model_factory import make_model
from tests.plugin_package import Install

ENTRIES = "[fedbus.models]\nnet = seedingnets:net\n"
SOURCE = """
def net(config):
    from torch import nn  # only here

    return nn.Linear(4, 2)


def keras_net():
    import keras

    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
"""
LATE = """
import sys
from fedbus.cli.inputs.random_seeds import seeded
with seeded(int(sys.argv[1])):
    import torch
    print(torch.rand(3).tolist())
assert all(type(each).__module__ != "fedbus.cli.inputs.random_seeds" for each in sys.meta_path)
"""


def weights(where: str, seed: int) -> str:
    """Make a model; the digest of its first weights."""
    with seeded(seed):
        return make_model(where, None, None, (4,)).push.weights.digest


@pytest.mark.parametrize(("package", "factory"), [("torch", "net"), ("keras", "keras_net")])
def test_a_factorys_first_weights_are_those_of_the_seed(
    package: str, factory: str, install: Install
) -> None:
    """`simulate --seed` promises that a run is played again."""
    pytest.importorskip(package)
    install("seedingnets", ENTRIES, SOURCE)
    first, again, other = (weights(f"seedingnets:{factory}", seed) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_a_framework_that_is_imported_later_is_seeded_then() -> None:
    """Factories import their framework inside; each process seeds torch again by chance."""
    pytest.importorskip("torch")
    seven, again, eight = (
        subprocess.run(
            [sys.executable, "-c", LATE, seed], check=True, capture_output=True, text=True
        ).stdout
        for seed in ("7", "7", "8")
    )
    assert seven == again
    assert seven != eight


def test_whatever_number_seeds_python_and_numpy() -> None:
    """NumPy takes no negative seed; the command line does."""
    drawn = []
    for seed in (*repeat(-1, 2), 2**40 + 3):
        with seeded(seed):
            drawn.append((random.random(), np.random.random()))  # noqa: NPY002 - what is seeded
    assert drawn[0] == drawn[1] != drawn[2]
