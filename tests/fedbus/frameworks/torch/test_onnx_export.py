"""ONNX files of PyTorch models."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch

from fedbus import plugins
from fedbus.errors import LayoutError, TrainingError
from fedbus.frameworks import onnx_file
from fedbus.frameworks.torch import onnx_export
from fedbus.frameworks.torch.architectures import build
from fedbus.frameworks.torch.loading import load_weights
from fedbus.frameworks.torch.tensors import weights_of


class Normed(torch.nn.Module):
    """A small convolutional net whose batch normalization has learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 3)
        self.norm = torch.nn.BatchNorm2d(3)
        self.last = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(torch.relu(self.norm(self.conv(x))).mean((2, 3)))
        return outputs


class Counting(torch.nn.Module):
    """A net whose way depends on its inputs, which no graph can have."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(x) if float(x.sum()) > 0 else self.last(x) * 2
        return outputs


class Forked(torch.nn.Module):
    """A net with two outputs: by their names, or in a tuple."""

    def __init__(self, *, named: bool) -> None:
        super().__init__()
        self.last = torch.nn.Linear(3, 2)
        self.named = named

    def forward(self, x: torch.Tensor) -> object:
        y = self.last(x)
        return {"twice": y * 2, "most": y.amax(1)} if self.named else (y * 2, y.amax(1))


NETS: Mapping[str, Any] = {
    "mlp": ({"name": "mlp", "config": {"layers": [64, 32, 10], "bits_after": 1}}, (64,)),
    "words": (
        {"name": "bag_of_words", "config": {"words": 50, "width": 8, "classes": 3}},
        (7,),
    ),
    "normed": (Normed, (2, 8, 8)),
}


def installed(monkeypatch: pytest.MonkeyPatch, net: object) -> dict[str, Any]:
    """Return an architecture: the one given, or one of a module that is built in its place."""
    if isinstance(net, dict):
        return net
    monkeypatch.setattr(
        onnx_export, "build", lambda _: cast("Callable[[], torch.nn.Module]", net)()
    )
    return {"name": "own", "config": {}}


@pytest.mark.parametrize("name", NETS)
def test_a_file_answers_as_the_module_for_any_number_of_rows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Onnxruntime computes it; the shape of a row is the spec's or the first layer's."""
    net, row = NETS[name]
    architecture = installed(monkeypatch, net)
    module = build(net) if isinstance(net, dict) else net()
    rng = np.random.default_rng(3)
    weights = {
        key: (np.abs(rng.normal(0, 0.3, each.shape)) + 0.01).astype(each.dtype)
        for key, each in weights_of(module).items()
    }
    load_weights(module, weights)
    given = None if name == "words" else row
    file = onnx_export.onnx_of(architecture, weights, given)
    for count in (1, 9):
        rows = rng.integers(0, 50, (count, *row))
        rows = rows if name == "words" else (rows / 50).astype(np.float32)
        if given is None:
            rows = rng.integers(0, 50, (count, 8))  # as many words as the first layer's rows have
        with torch.no_grad():
            wanted = module.eval()(torch.from_numpy(rows)).numpy()
        np.testing.assert_allclose(onnx_file.run(file, rows), wanted, atol=1e-5)


@pytest.mark.parametrize("names", [("twice", "most"), ("0", "1")])
def test_several_outputs_have_the_names_that_inference_answers_with(
    names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys of a dict, or the positions in a tuple; in this order."""
    module = Forked(named=names[0] == "twice")
    architecture = installed(monkeypatch, lambda: module)
    weights = {"last.weight": np.eye(3, 2, dtype="f4"), "last.bias": np.zeros(2, "f4")}
    file = onnx_export.onnx_of(architecture, weights, None)
    rows = np.array([[1, 2, 3], [5, 4, 6]], np.float32)
    twice, most = (onnx_file.run(file, rows, name) for name in names)
    assert twice.tolist() == [[2, 4], [10, 8]]
    assert most.tolist() == [2, 5]


@pytest.mark.parametrize(
    ("net", "row", "sentence"),
    [
        (Counting, (3,), "torch cannot export the model to ONNX"),
        (Counting, (4,), "the model cannot take rows to export it"),
        (lambda: torch.nn.Linear(3, 2).half(), (3,), "a model in torch.float16 has no ONNX file"),
        (lambda: torch.nn.LSTM(3, 2), (4, 3), "the model answers a tuple of other things than"),
        (lambda: torch.nn.Bilinear(3, 3, 1), None, "does not say the shape of a row"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_a_sentence(
    net: Callable[[], torch.nn.Module],
    row: tuple[int, ...] | None,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And no file is written."""
    architecture = installed(monkeypatch, net)
    with pytest.raises((TrainingError, LayoutError), match=sentence):
        onnx_export.onnx_of(architecture, weights_of(net()), row)


def test_a_module_that_is_not_installed_is_named() -> None:
    """As everywhere."""
    assert "nope" not in plugins.installed_names("models")
    with pytest.raises(TrainingError, match="no torch architecture named 'nope'"):
        onnx_export.onnx_of({"name": "nope"}, {}, None)
