"""Trainer of PyTorch: architectures by name, built from data and never from code."""

import numpy as np
import pytest

from fedbus.data import from_arrays
from fedbus.errors import TrainingError
from fedbus.training.params import Architecture, TrainingParams

pytest.importorskip("torch")

from fedbus.frameworks.torch import TorchTrainer
from tests.fedbus.frameworks.alike import answers


def mlp(**config: object) -> Architecture:
    """Configure dense layers."""
    return {"name": "mlp", "config": config}


def words(**config: object) -> Architecture:
    """Configure a bag of words."""
    return {"name": "bag_of_words", "config": config}


def test_an_mlp_is_built_from_its_widths() -> None:
    """Its first weights come from its seed alone."""
    first = TorchTrainer(mlp(layers=[3, 5, 4, 2], seed=1)).initial()
    assert [first[f"layers.{n}.weight"].shape for n in range(3)] == [(3, 5), (5, 4), (4, 2)]
    again = TorchTrainer(mlp(layers=[3, 5, 4, 2], seed=1)).initial()
    other = TorchTrainer(mlp(layers=[3, 5, 4, 2])).initial()
    np.testing.assert_array_equal(first["layers.0.weight"], again["layers.0.weight"])
    assert not np.array_equal(first["layers.0.weight"], other["layers.0.weight"])


@pytest.mark.parametrize(
    ("architecture", "sentence"),
    [
        ({}, "no torch architecture named None; there is bag_of_words, mlp"),
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
        (mlp(layers=[64, 32, 10], bits_after=2), "bits_after, the number of a hidden layer"),
        (mlp(layers=[2**14, 2**14 + 1]), "more than 268435456 numbers"),
        (words(words=10, width=2), "configured by words, width and classes"),
        (words(words=10, width=2, classes=0), "configured by words, width and classes"),
        (words(words=10, width=2, classes=2, seed=-1), "configured by words, width and classes"),
        (words(words=10, width=2, classes=2, bias=1), "configured by words, width and classes"),
        (words(words=True, width=2, classes=2), "configured by words, width and classes"),
        (words(words=2**27, width=2, classes=2), "more than 268435456 numbers"),
    ],
)
def test_a_architecture_that_names_nothing_we_know_is_refused(
    architecture: Architecture, sentence: str
) -> None:
    """Before torch allocates a byte for it."""
    with pytest.raises(TrainingError, match=sentence):
        TorchTrainer(architecture)


def test_a_bag_of_words_takes_whole_numbers_that_it_knows() -> None:
    """As floats too, since a request may come as JSON."""
    trainer = TorchTrainer(words(words=5, width=3, classes=2))
    trainer.load(trainer.initial())
    known = np.array([[1, 4, 0], [2, 2, 2]])
    found = answers(trainer, known)
    assert found.shape == (2, 2)
    np.testing.assert_array_equal(found, answers(trainer, known.astype(np.float32)))
    for wrong in (known + 1, known - 1, known + 0.5):
        with pytest.raises(TrainingError, match="other than the words 0 to 4"):
            trainer.predict(wrong)


def test_a_model_of_quantities_answers_with_them() -> None:
    """No probabilities are made of them, and its truths are numbers."""
    trainer = TorchTrainer(mlp(layers=[2, 1]))
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    data = from_arrays(x, x @ np.array([2.0, -1.0], np.float32) + 3)
    params = TrainingParams(
        optimizer="adam", loss="mse", metrics=("rmse", "mae"), epochs=80, learning_rate=0.1
    )
    update = trainer.train(trainer.initial(), data, params)
    found = trainer.evaluate(update.weights, data, params)
    assert found["rmse"] == pytest.approx(found["loss"] ** 0.5)
    assert found["mae"] < 0.05
    trainer.load(update.weights)
    assert trainer.predict(np.zeros((1, 2), np.float32)) == pytest.approx(3, abs=0.1)
    with pytest.raises(
        TrainingError, match=r"y is float32 \(64, 2\); the model answers \(32, 1\)|y is"
    ):
        trainer.evaluate(update.weights, from_arrays(x, np.zeros((64, 2), np.float32)), params)
