"""Weights come back into a person's own model as they were, and into files that frameworks read."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedbus
from fedbus import demo_data
from fedbus.errors import LayoutError, PluginError
from fedbus.frameworks.tflite import file as tflite_file
from fedbus.model import safetensors
from fedbus.model.layout import DTYPES, Array, Layout
from fedbus.model.npz import write_npz
from fedbus.model.weight_files import read_weights


def square() -> dict[str, Array]:
    """Weights of a square dense layer, which no shape tells from its transpose."""
    rng = np.random.default_rng(1)
    return {
        "layers.0.weight": rng.normal(size=(3, 3)).astype(np.float32),
        "layers.0.bias": rng.normal(size=3).astype(np.float32),
    }


def row() -> Array:
    """Make inputs whose answers differ if the layer is turned."""
    return np.array([[1.0, -2.0, 3.0]], np.float32)


def answers() -> Array:
    """Compute what the layer answers, in the layout's own order: (inputs, outputs)."""
    weights = square()
    found: Array = row() @ weights["layers.0.weight"] + weights["layers.0.bias"]
    return found


def written(folder: Path, suffix: str) -> Path:
    """Write them as `fedbus models pull` does."""
    path = folder / f"square{suffix}"
    if suffix == ".npz":
        write_npz(path, square())
    else:
        path.write_bytes(safetensors.pack(square(), {"model": "square"}))
    return path


def headed(head: bytes) -> bytes:
    """Write a safetensors file that is nothing but a header."""
    return len(head).to_bytes(8, "little") + head


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".download"])
def test_weights_are_read_whatever_the_file_is_called(suffix: str, tmp_path: Path) -> None:
    """What it holds says what it is."""
    found = read_weights(written(tmp_path, suffix))
    assert found.keys() == square().keys()
    for name, array in square().items():
        np.testing.assert_array_equal(found[name], array)


@given(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 3), max_size=3))
def test_safetensors_hold_every_dtype_and_shape(dtype: str, shape: list[int]) -> None:
    """Scalars and empty arrays too; the header is aligned."""
    array = (np.random.default_rng(0).random(shape) * 2).astype(dtype)
    packed = safetensors.pack({"first": np.zeros(1, np.int8), "x": array})
    found = safetensors.unpack(packed)["x"]
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)
    assert int.from_bytes(packed[:8], "little") % 8 == 0


def test_safetensors_of_bfloat16_are_read_as_float32() -> None:
    """Each of its numbers is one."""
    head = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    found = safetensors.unpack(headed(head) + b"\x80\x3f\x00\xc0")
    assert found["w"].dtype == np.float32
    assert found["w"].tolist() == [1.0, -2.0]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("w.npz", b"", "not a safetensors file"),
        ("w.npz", b"\xff" * 64, "a header of"),
        ("w.npz", b"PK\x03\x04 torn", "a truncated .npz file: it begins as one"),
        ("w.npz", b"\x93NUMPY\x01\x00", "but one bare array"),
        ("w.pt", b"", r"net\.load_state_dict\(torch\.load"),
        ("w.keras", b"", r"model\.load_weights\(FILE\) reads it"),
        ("w", b"\x02\x00\x00\x00\x00\x00\x00\x00[]", "not a safetensors file"),
        (
            "w",
            headed(b'{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,99]}}'),
            "tensor 'w': bytes 0 to 99 of 0",
        ),
        (
            "w",
            headed(b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}'),
            "no length is below 0",
        ),
        (
            "w",
            headed(b'{"w":{"dtype":"F8","shape":[0],"data_offsets":[0,0]}}'),
            "tensor 'w' is F8, which no layout has",
        ),
    ],
    ids=["empty", "noise", "torn", "bare", "torch", "keras", "list", "short", "shape", "dtype"],
)
def test_what_is_no_file_of_weights_is_refused(
    name: str, content: bytes, sentence: str, tmp_path: Path
) -> None:
    """With the path, and what belongs there."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LayoutError, match=sentence) as caught:
        read_weights(tmp_path / name)
    assert f"{tmp_path / name}: not an .npz file" in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """By its path."""
    with pytest.raises(LayoutError, match=r"gone\.npz: No such file"):
        read_weights(tmp_path / "gone.npz")


def test_what_is_no_model_takes_no_weights() -> None:
    """A program's mistake, said at once."""
    with pytest.raises(TypeError, match=r"a dict; a torch\.nn\.Module, a keras\.Model"):
        fedbus.load_into({}, square())


# ── torch ─────────────────────────────────────────────────────────────────────────────────────────


def torch_net(dtype: str = "float32") -> Any:  # noqa: ANN401 - where torch is installed
    """Make a user's own net with a square layer."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined]  # not known before it is there
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(3, 3)])

        def forward(self, x: Any) -> Any:  # noqa: ANN401
            return self.layers[0](x)

    return Net().to(getattr(torch, dtype))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_square_dense_layer_of_torch_is_turned_back(suffix: str, tmp_path: Path) -> None:
    """`load_state_dict` of the plain arrays would load its transpose, and no shape would tell."""
    net = torch_net()
    fedbus.load_into(net, written(tmp_path, suffix))
    import torch

    np.testing.assert_allclose(net(torch.tensor(row())).detach(), answers(), rtol=1e-6)


def test_a_net_keeps_its_own_floats() -> None:
    """A half of a net stays one."""
    net = torch_net("float16")
    fedbus.load_into(net, square())
    assert str(net.layers[0].weight.dtype) == "torch.float16"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"layers.0.bias": None}, r"the weights lack layers\.0\.bias, which the model has"),
        ({"other": np.zeros(1)}, "the weights hold other, which the model does not have"),
        (
            {"layers.0.bias": np.zeros(4, np.float32)},
            r"tensor 'layers\.0\.bias': float32 \(4,\), where the model has float32 \(3,\)",
        ),
        ({"layers.0.bias": np.zeros(3, np.complex64)}, r"complex64 \(3,\), where the model"),
    ],
    ids=["lacks", "foreign", "shape", "dtype"],
)
def test_weights_of_another_model_are_refused_by_name(
    change: dict[str, Any], sentence: str
) -> None:
    """And the net stays as it was."""
    net = torch_net()
    before = net.layers[0].weight.detach().clone()
    weights = {n: a for n, a in {**square(), **change}.items() if a is not None}
    with pytest.raises(LayoutError, match=sentence):
        fedbus.load_into(net, weights)
    assert (net.layers[0].weight == before).all()


def test_torchs_own_file_is_read_by_torch(tmp_path: Path) -> None:
    """`--format torch` is what `load_state_dict` takes, and holds no code."""
    torch = pytest.importorskip("torch")
    from fedbus.frameworks.torch.loading import file_of

    weights = {n.replace("layers.0", "layers.0"): a for n, a in square().items()}
    data = file_of({"name": "mlp", "config": {"layers": [3, 3]}}, weights)
    (tmp_path / "w.pt").write_bytes(data)
    state = torch.load(io.BytesIO(data), weights_only=True)
    net = torch_net()
    net.load_state_dict(state)
    np.testing.assert_allclose(net(torch.tensor(row())).detach(), answers(), rtol=1e-6)


# ── TFLite and Keras ──────────────────────────────────────────────────────────────────────────────


def test_an_interpreter_of_the_digits_takes_weights() -> None:
    """What an application on a device holds."""
    try:  # the runtime that goes with what this process has loaded
        runtime = tflite_file.find_interpreter()
    except PluginError:
        pytest.skip("no TFLite runtime")
    with warnings.catch_warnings():  # TensorFlow's tells of its successor
        warnings.simplefilter("ignore", UserWarning)
        interpreter = runtime(model_content=demo_data.read("digits.tflite"))
    own = interpreter.get_signature_runner("get_weights")()
    rng = np.random.default_rng(2)
    new = {n.replace("__", "."): rng.normal(size=a.shape).astype("f4") for n, a in own.items()}
    fedbus.load_into(interpreter, new)
    found = interpreter.get_signature_runner("get_weights")()
    for name, array in new.items():
        np.testing.assert_array_equal(found[name.replace(".", "__")], array)
    with pytest.raises(LayoutError, match="the weights lack"):
        fedbus.load_into(interpreter, square())
    assert Layout.of(new).numbers == 2410


def test_an_interpreter_of_another_file_takes_none() -> None:
    """It was not exported to be trained."""
    from fedbus.frameworks.tflite.loading import load_weights

    with pytest.raises(LayoutError, match="no signatures get_weights and set_weights"):
        load_weights(object(), square())


ARCHITECTURE = {"name": "sequential", "config": {"input": [3], "layers": [["Dense", {"units": 3}]]}}


def test_a_keras_model_and_its_files_take_weights(tmp_path: Path) -> None:
    """A model of one's own; a `.keras` file that `load_model` reads; a `.tflite` that runs."""
    pytest.importorskip("tensorflow")
    import keras

    from fedbus.frameworks.keras.loading import file_of, tflite_of
    from fedbus.frameworks.tflite.trainer import TfliteTrainer

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    fedbus.load_into(model, square())
    np.testing.assert_allclose(model(row()), answers(), rtol=1e-6)
    path = tmp_path / "square.keras"
    path.write_bytes(file_of(ARCHITECTURE, square()))
    np.testing.assert_allclose(keras.models.load_model(path)(row()), answers(), rtol=1e-6)
    file = tflite_of(ARCHITECTURE, square(), "values")
    found = TfliteTrainer({"blob": file}).predict(row())
    np.testing.assert_allclose(np.asarray(found), answers(), rtol=1e-5)
