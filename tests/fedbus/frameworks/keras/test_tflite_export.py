"""A Keras model, exported, takes the same steps on a device that has tflite-runtime alone."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from fedbus.data import from_arrays
from fedbus.errors import TrainingError
from fedbus.frameworks.tflite.trainer import TfliteTrainer
from fedbus.model.layout import Array
from fedbus.training.params import TrainingParams
from tests.fedbus.frameworks.alike import answers, assert_alike, through_a_file

pytest.importorskip("tensorflow")
pytest.importorskip("tflite_runtime")

from fedbus.frameworks.keras import KerasTrainer
from fedbus.frameworks.keras.architectures import build
from fedbus.frameworks.keras.tensors import named, weights_of
from fedbus.frameworks.keras.tflite_export import export
from fedbus.frameworks.keras.tflite_network import Loss

import keras  # isort: skip - after the package that says which backend it has
import tensorflow as tf  # isort: skip

END: list[Any] = [["Flatten"], ["Dense", {"units": 3}]]
CONV = ["Conv2D", {"filters": 3, "kernel_size": 2, "padding": "same"}]
PICTURE = (6, 5, 2)

NETS: dict[str, tuple[tuple[int, ...], list[Any]]] = {
    "dense": ((5,), [["Dense", {"units": 4, "activation": "relu"}], ["Dense", {"units": 3}]]),
    "dense, no bias": ((5,), [["Dense", {"units": 3, "use_bias": False}]]),
    "conv": (PICTURE, [CONV, ["Conv2D", {"filters": 2, "kernel_size": [3, 2]}], *END]),
    "conv, strides": (
        PICTURE, [CONV, ["Conv2D", {"filters": 2, "kernel_size": 3, "strides": [2, 3]}], *END],
    ),
    "conv, same": (
        PICTURE,
        [CONV, ["Conv2D", {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"}], *END],
    ),
    "depthwise": (
        PICTURE, [CONV, ["DepthwiseConv2D", {"kernel_size": 3, "activation": "relu"}], *END],
    ),
    "depthwise, same": (
        PICTURE,
        [
            CONV,
            ["DepthwiseConv2D", {"kernel_size": 2, "depth_multiplier": 2, "strides": 2,
                                 "padding": "same", "use_bias": False}],
            *END,
        ],
    ),
    "max pool": (PICTURE, [CONV, ["MaxPooling2D", {}], *END]),
    "max pool, same": (
        PICTURE, [CONV, ["MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}], *END],
    ),
    "average pool": (PICTURE, [CONV, ["AveragePooling2D", {"pool_size": [3, 2]}], *END]),
    "average pool, same": (
        PICTURE, [CONV, ["AveragePooling2D", {"pool_size": 2, "padding": "same"}], *END],
    ),
    "relu, softmax": (
        (5,), [["Dense", {"units": 4}], ["ReLU"], ["Dense", {"units": 3}], ["Softmax"]],
    ),
    "softmax inside": ((5,), [["Dense", {"units": 4, "activation": "softmax"}], END[1]]),
}  # fmt: skip

BINARY_LOSSES: dict[str, tuple[tuple[int, ...], list[Any]]] = {
    last: ((5,), [["Dense", {"units": 4, "activation": "relu"}],
                  ["Dense", {"units": 3, "activation": last}]])
    for last in ("linear", "sigmoid")
}  # fmt: skip

PROGRAM = """
import sys
import numpy as np
from fedbus.data import from_arrays
from fedbus.frameworks.tflite.trainer import TfliteTrainer
from fedbus.training.params import TrainingParams
for line in sys.stdin:
    file, rows, out, optimizer, loss = line.rstrip("\\n").split("\\t")
    with np.load(rows) as found:
        x, y = found["x"], found["y"]
    trainer = TfliteTrainer({"blob": open(file, "rb").read()})
    args = {"momentum": 0.9} if optimizer == "sgd" else {}
    params = TrainingParams(batch_size=len(x), epochs=3, learning_rate=0.05, optimizer=optimizer,
                    optimizer_args=args, loss=loss)
    update = trainer.train(trainer.initial(), from_arrays(x, y), params)
    np.savez(out, predicted=trainer.predict(x), **update.weights)
    print("tensorflow" in sys.modules, flush=True)
"""

Train = Callable[[bytes, tuple[Array, Array], str, Loss], dict[str, Array]]


def net(row: tuple[int, ...], layers: list[Any]) -> Any:  # noqa: ANN401 - Keras has no types
    """Build a model."""
    return build({"name": "sequential", "config": {"input": row, "layers": layers, "seed": 3}})


@cache
def file_of(case: str, loss: Loss = "categorical_crossentropy") -> bytes:
    """Export a model, once for all tests that use it: TensorFlow takes a second for each."""
    return export(net(*(NETS | BINARY_LOSSES)[case]), loss)


@pytest.fixture(scope="module")
def on_a_device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Train]:
    """Train three steps in a process that has no TensorFlow; returns weights and `predicted`.

    One process serves all tests of this file: to start it takes as long as most of them.
    """
    folder = tmp_path_factory.mktemp("device")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        asked, said = process.stdin, process.stdout
        assert asked is not None
        assert said is not None

        def train(
            file: bytes, rows: tuple[Array, Array], optimizer: str, loss: Loss
        ) -> dict[str, Array]:
            folder.joinpath("net.tflite").write_bytes(file)
            np.savez(folder / "rows.npz", x=rows[0], y=rows[1])
            names = [str(folder / name) for name in ("net.tflite", "rows.npz", "out.npz")]
            asked.write("\t".join((*names, optimizer, loss)) + "\n")
            asked.flush()
            assert said.readline() == "False\n", "it trained, and TensorFlow was not imported"
            with np.load(folder / "out.npz") as found:
                return dict(found)

        yield train


def with_tape(model: Any, x: Array, y: Array, optimizer: Any, loss: Loss) -> None:  # noqa: ANN401 - Keras has no types
    """Take the same three steps with TensorFlow's own gradients."""
    linear = getattr(model.layers[-1], "activation", None) is keras.activations.linear
    if loss == "mean_squared_error":
        measure = keras.losses.MeanSquaredError()
    elif loss == "binary_crossentropy":
        measure = keras.losses.BinaryCrossentropy(from_logits=linear)
    else:
        scores = not model.layers[-1].get_config().get("activation") and (
            type(model.layers[-1]).__name__ != "Softmax"
        )
        measure = keras.losses.SparseCategoricalCrossentropy(from_logits=scores or linear)
    for _ in range(3):
        with tf.GradientTape() as tape:
            value = measure(y, model(x, training=True))
        found = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(found, model.trainable_variables, strict=True))


def check(
    train: Train,
    case: str,
    rows: tuple[Array, Array],
    name: str = "sgd",
    loss: Loss = "categorical_crossentropy",
) -> None:
    """Compare all weights, and the answers, after three steps."""
    (x, y), model = rows, net(*(NETS | BINARY_LOSSES)[case])
    got = train(file_of(case, loss), rows, name, loss)
    before = weights_of(model)
    made = keras.optimizers.SGD(0.05, 0.9) if name == "sgd" else keras.optimizers.Adam(0.05)
    with_tape(model, x, y, made, loss)
    assert any(not np.allclose(before[w], got[w], atol=1e-3) for w in before)
    for weight, variable in named(model).items():
        np.testing.assert_allclose(got[weight], np.array(variable), atol=1e-4, rtol=0)
    np.testing.assert_allclose(got["predicted"], np.array(model(x)), atol=1e-4)


@pytest.mark.parametrize("case", NETS)
def test_steps_equal_those_of_tensorflows_tape(case: str, on_a_device: Train) -> None:
    """Layer by layer, with momentum, in tflite-runtime, to 1e-4."""
    row, _ = NETS[case]
    x = np.random.default_rng(5).normal(size=(7, *row)).astype(np.float32)
    check(on_a_device, case, (x, np.arange(7) % 3))


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_values_are_learnt_by_their_squared_error(name: str, on_a_device: Train) -> None:
    """With both optimizers."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(7, 3)).astype(np.float32)
    check(on_a_device, "dense", (x, y), name, "mean_squared_error")


@pytest.mark.parametrize("activation", BINARY_LOSSES)
def test_yes_or_no_is_learnt_of_each_output(activation: str, on_a_device: Train) -> None:
    """Three labels, scores or probabilities: the steps, the answers and the score are Keras's."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(7, 5)).astype(np.float32), (rng.random((7, 3)) > 0.5).astype(np.float32)
    trainer = TfliteTrainer({"blob": file_of(activation, "binary_crossentropy")})
    params = TrainingParams(loss="binary_crossentropy", metrics=("accuracy",))
    found = trainer.evaluate(trainer.initial(), from_arrays(x, y), params)
    row, layers = BINARY_LOSSES[activation]
    spec = {"input": list(row), "layers": layers}
    own = KerasTrainer({"name": "sequential", "config": spec})
    assert found == pytest.approx(
        own.evaluate(trainer.initial(), from_arrays(x, y), params), abs=1e-5
    )
    assert trainer.output_activation == own.output_activation
    check(on_a_device, activation, (x, y), "sgd", "binary_crossentropy")


def test_a_sigmoid_elsewhere_is_refused_by_name() -> None:
    """Its gradient is not there."""
    with pytest.raises(
        TrainingError, match="a sigmoid can be trained at the end of a model of yes"
    ):
        export(
            net((5,), [["Dense", {"units": 4, "activation": "sigmoid"}], ["Dense", {"units": 2}]])
        )


def test_adam_takes_kerass_steps(on_a_device: Train) -> None:
    """Its corrections of the first steps too."""
    x = np.random.default_rng(7).normal(size=(7, 5)).astype(np.float32)
    check(on_a_device, "dense", (x, np.arange(7) % 3), "adam")


def test_dropout_drops_its_share_in_training_only_and_by_the_tasks_seed() -> None:
    """A dropped input leaves its row of the matrix as it was; the others learn twice as much."""
    model = net((400,), [["Dropout", {"rate": 0.5}], ["Dense", {"units": 3}]])
    trainer = TfliteTrainer({"blob": export(model)})
    weights, x = trainer.initial(), np.ones((1, 400), np.float32)
    data, params = from_arrays(x, np.zeros(1, int)), TrainingParams(learning_rate=1.0, seed=4)
    step = trainer.train(weights, data, params).weights["layers.0.weight"]
    moved = np.any(step != weights["layers.0.weight"], axis=1)
    assert 0.4 < moved.mean() < 0.6
    masked = (moved * np.float32(2)) @ weights["layers.0.weight"]
    shares = np.exp(masked - masked.max()) / np.exp(masked - masked.max()).sum()
    wanted = np.outer(moved * 2, np.eye(3)[0] - shares)
    np.testing.assert_allclose(step - weights["layers.0.weight"], wanted, atol=1e-4)
    again = trainer.train(weights, data, params).weights["layers.0.weight"]
    np.testing.assert_array_equal(step, again)
    other = trainer.train(weights, data, TrainingParams(learning_rate=1.0, seed=5))
    assert np.any(other.weights["layers.0.weight"] != step)
    trainer.load(weights)
    np.testing.assert_allclose(answers(trainer, x), np.array(model(x, training=False)), atol=1e-5)


def test_adam_goes_on_from_task_to_task() -> None:
    """With its moments and the number of its steps."""
    file = file_of("dense")
    one, other = TfliteTrainer({"blob": file}), TfliteTrainer({"blob": file})
    x = np.random.default_rng(7).normal(size=(7, 5)).astype(np.float32)
    data = from_arrays(x, np.arange(7) % 3)
    params = TrainingParams(
        batch_size=7, learning_rate=0.05, optimizer="adam", keep_optimizer_state=True
    )
    weights = at_once = one.initial()
    at_once = one.train(at_once, data, replace(params, epochs=3)).weights
    for task in range(3):
        if task:
            other.load_optimizer_state(through_a_file(other.optimizer_state()))
        weights = other.train(weights, data, params).weights
        other.evaluate(weights, data, params)  # of which the state knows nothing
    assert_alike(weights, at_once)
    other.load_optimizer_state(
        {name: array for name, array in other.optimizer_state().items() if name != "steps"}
    )
    with pytest.raises(TrainingError, match="damaged, or of another model"):
        other.train(weights, data, params)


@pytest.mark.parametrize(
    ("row", "layers", "sentence"),
    [
        (
            (4, 8),
            [["LSTM", {"units": 2}]],
            "layer 0, LSTM: TFLite cannot be trained with it, only with Dense",
        ),
        ((5,), [["Dense", {"units": 3}], ["BatchNormalization"]], "layer 1, BatchNormalization"),
        ((5,), [["Dense", {"units": 3, "activation": "gelu"}]], "layer 0, Dense: .*'gelu'"),
        ((5,), [["ReLU", {"max_value": 6.0}]], "layer 0, ReLU: .* max_value 6.0"),
        ((2, 5), [["Dense", {"units": 3}]], "layer 0, Dense: .*put a Flatten before it"),
    ],
    ids=["recurrent", "normalization", "activation", "argument", "rank"],
)
def test_what_cannot_be_exported_is_refused_by_name(
    row: tuple[int, ...], layers: list[Any], sentence: str
) -> None:
    """Before TensorFlow converts anything."""
    with pytest.raises(TrainingError, match=sentence):
        export(net(row, layers))


def test_a_file_is_asked_for_its_own_loss_only() -> None:
    """It has one of the two."""
    trainer = TfliteTrainer({"blob": file_of("dense", "mean_squared_error")})
    data = from_arrays(np.ones((2, 5), np.float32), np.ones((2, 3), np.float32))
    with pytest.raises(TrainingError, match="has no loss 'categorical_crossentropy'"):
        trainer.train(trainer.initial(), data, TrainingParams())
    metrics = trainer.evaluate(trainer.initial(), data, TrainingParams(loss="mse"))
    assert set(metrics) == {"loss"}


def test_all_that_adam_remembers_are_arrays() -> None:
    """The number of its steps too: an agent keeps nothing else."""
    trainer = TfliteTrainer({"blob": file_of("dense")})
    data = from_arrays(np.ones((2, 5), np.float32), np.arange(2))
    params = TrainingParams(optimizer="adam", keep_optimizer_state=True)
    trainer.train(trainer.initial(), data, params)
    state = trainer.optimizer_state()
    assert {type(array) for array in state.values()} == {np.ndarray}
    trainer.load_optimizer_state(state)
    trainer.train(trainer.initial(), data, params)
    assert trainer.optimizer_state()["steps"] == 2
