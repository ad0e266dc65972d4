"""What only torch has: architectures by name, built from data and never from code."""

import numpy as np
import pytest

from fedbus.errors import TrainingError
from fedbus.training import Structure

pytest.importorskip("torch")

from fedbus.frameworks.torch import TorchTrainer


def mlp(**config: object) -> Structure:
    """Configure the one architecture there is."""
    return {"name": "mlp", "config": config}


def test_an_mlp_is_built_from_its_widths() -> None:
    """Its first weights come from its seed alone."""
    first = TorchTrainer(mlp(layers=[3, 5, 4, 2], seed=1)).initial()
    assert [first[f"layers.{n}.weight"].shape for n in range(3)] == [(3, 5), (5, 4), (4, 2)]
    again = TorchTrainer(mlp(layers=[3, 5, 4, 2], seed=1)).initial()
    other = TorchTrainer(mlp(layers=[3, 5, 4, 2])).initial()
    np.testing.assert_array_equal(first["layers.0.weight"], again["layers.0.weight"])
    assert not np.array_equal(first["layers.0.weight"], other["layers.0.weight"])


@pytest.mark.parametrize(
    ("structure", "sentence"),
    [
        ({}, "no torch architecture named None; there is mlp"),
        ({"name": "os.system"}, "no torch architecture named 'os.system'"),
        ({"name": ["mlp"]}, r"named \['mlp'\]"),
        ({"name": "mlp", "config": [1]}, "config of 'mlp' is list, not a map"),
        ({"name": "mlp"}, "an mlp is configured by layers"),
        (mlp(layers=[64]), "2 to 64 widths"),
        (mlp(layers=[2] * 65), "2 to 64 widths"),
        (mlp(layers=[64, 0]), "an mlp is configured by layers"),
        (mlp(layers=[64, 10.0]), "an mlp is configured by layers"),
        (mlp(layers=[64, True]), "an mlp is configured by layers"),
        (mlp(layers=[64, 10], seed="x"), "perhaps a seed"),
        (mlp(layers=[64, 10], bias=False), "perhaps a seed"),
        (mlp(layers=[2**14, 2**14 + 1]), "more than 268435456 numbers"),
    ],
)
def test_a_structure_that_names_nothing_we_know_is_refused(
    structure: Structure, sentence: str
) -> None:
    """Before torch allocates a byte for it."""
    with pytest.raises(TrainingError, match=sentence):
        TorchTrainer(structure)
