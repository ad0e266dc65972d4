"""Frameworks are chosen by what is installed, and each predicts with the weights it was given."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

import fedbus
from fedbus.data import Dataset
from fedbus.errors import LayoutError, PluginError, SettingsError, TrainingError
from fedbus.frameworks.file_trial import FileCrash
from fedbus.frameworks.tflite.admission import Admission
from fedbus.model.blob import encode
from fedbus.model.layout import Layout, Weights
from fedbus.training.options import FRAMEWORKS, LIGHTEST_FIRST
from fedbus.training.params import Architecture, TrainingParams, Update
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec
from fedbus_inference.input_spec import InputSpec
from fedbus_inference.model_runtimes import load, runtime_for
from fedbus_inference.served_version import ServedVersion
from tests.fedbus.frameworks.alike import answers
from tests.plugin_package import Install

DEMO = Path(str(fedbus.__file__)).parent / "demo_data"
FILE = DEMO.joinpath("digits.tflite").read_bytes()
SPEC = codec.from_json(ModelSpec, DEMO.joinpath("model.json").read_bytes())
LAYOUT = Layout.read(SPEC.layout)


def digits(bias: int) -> bytearray:
    """Weights of the demo's network that always answer one digit."""
    arrays = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in LAYOUT.tensors}
    arrays["layers.1.bias"][bias] = 100
    return encode(arrays, LAYOUT)


def test_auto_takes_what_is_installed_the_lightest_first() -> None:
    """Nothing is imported to find out."""
    assert runtime_for("auto", lambda _: True).frameworks == ("tflite", "onnx", "torch", "keras")
    assert runtime_for("auto", "torch".__eq__).frameworks == ("torch",)
    assert runtime_for("auto").frameworks
    assert runtime_for("auto", "ai_edge_litert".__eq__).frameworks == ("tflite",)


def test_auto_without_any_framework_says_what_to_install() -> None:
    """Such a service could answer no request, so it does not start."""
    with pytest.raises(
        SettingsError, match=r"FEDBUS_RUNTIME='auto': .* extras onnx, tensorflow, tflite, torch"
    ):
        runtime_for("auto", lambda _: False)


def test_a_framework_may_be_named() -> None:
    """Then it is the only one, installed or not: loading says what is missing."""
    assert runtime_for("torch").frameworks == ("torch",)


def test_an_unknown_framework_is_refused_by_name() -> None:
    """With those there are."""
    with pytest.raises(SettingsError, match=r"FEDBUS_RUNTIME='torhc': .* plug-in: auto, keras"):
        runtime_for("torhc")


@pytest.mark.parametrize("framework", LIGHTEST_FIRST)
def test_a_framework_answers_with_the_weights_it_was_given(framework: str) -> None:
    """Two versions do not disturb each other: each has an instance of its own."""
    if not any(find_spec(package) for package in FRAMEWORKS[framework].providers):
        pytest.skip(f"{framework} is not installed")
    architecture = dict(SPEC.architectures[framework])
    if "blob" in architecture:
        architecture["blob"] = DEMO.joinpath("digits.tflite").read_bytes()
    old = load(framework, SPEC, architecture, digits(3))
    new = load(framework, SPEC, architecture, digits(8))
    inputs = np.zeros((2, 64), np.float32)
    assert np.argmax(answers(old, inputs), axis=1).tolist() == [3, 3]
    assert np.argmax(answers(new, inputs[:1]), axis=1).tolist() == [8]


@pytest.mark.parametrize("framework", LIGHTEST_FIRST)
def test_a_spare_model_takes_the_weights_of_the_next_version(framework: str) -> None:
    """And remembers nothing of those before."""
    if not any(find_spec(package) for package in FRAMEWORKS[framework].providers):
        pytest.skip(f"{framework} is not installed")
    architecture = dict(SPEC.architectures[framework])
    if "blob" in architecture:
        architecture["blob"] = FILE
    inputs, spare = np.zeros((2, 64), np.float32), load(framework, SPEC, architecture, digits(3))
    for digit in (8, 1):
        assert load(framework, SPEC, architecture, digits(digit), spare) is spare
        assert np.asarray(spare.predict(inputs)).argmax(axis=1).tolist() == [digit, digit]


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(odd: float) -> None:
    """With the tensor's name; every answer would be null."""
    arrays = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in LAYOUT.tensors}
    arrays["layers.1.bias"][3] = odd
    sentence = f"the weights, tensor 'layers.1.bias': .* {odd} is not a finite number"
    with pytest.raises(LayoutError, match=sentence):
        load("tflite", SPEC, {"blob": FILE}, encode(arrays, LAYOUT))


class Kept(Admission):
    """What came of trials, as the test wants it."""

    def __init__(self, end: Exception | None = None) -> None:
        def trial(_data: bytes, _facts: object) -> None:
            if end is not None:
                raise end

        super().__init__(None, trial=trial, tried={})


def test_a_file_that_is_damaged_or_kills_is_never_opened() -> None:
    """TFLite's native code would end the service, again and again."""
    made: list[Architecture] = []

    def factory(_: str) -> Callable[[Architecture], NoReturn]:
        def make(architecture: Architecture) -> NoReturn:
            made.append(architecture)
            raise AssertionError

        return make

    half, killed = {"blob": FILE[: len(FILE) // 2]}, FileCrash("a child died by SIGSEGV")
    with pytest.raises(TrainingError, match=r"not a whole \.tflite file: model\."):
        load("tflite", SPEC, half, digits(1), factory=factory, admission=Kept())
    with pytest.raises(FileCrash, match="a child died by SIGSEGV"):
        load("tflite", SPEC, {"blob": FILE}, digits(1), factory=factory, admission=Kept(killed))
    assert not made


def test_weights_of_another_layout_are_refused() -> None:
    """Before the framework sees them."""
    other = Layout.of({"w": np.zeros(2, np.float32)})
    blob = encode({"w": np.zeros(2, np.float32)}, other)
    architecture = {"blob": DEMO.joinpath("digits.tflite").read_bytes()}
    with pytest.raises(LayoutError):
        load("tflite", SPEC, architecture, blob)


def test_a_trainer_that_cannot_predict_is_refused() -> None:
    """Predicting is a power that not every plug-in has."""

    class Trains:
        def initial(self) -> Weights:
            return {}

        def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
            return Update(weights, data.examples, {"loss": float(params.epochs)})

    with pytest.raises(PluginError, match="'tiny': expected a `predict` method"):
        load("tiny", SPEC, {}, digits(1), factory=lambda _: lambda _: Trains())


def test_a_runtime_of_others_answers_when_the_settings_name_it(install: Install) -> None:
    """It needs not be able to train, and comes before a trainer of that name."""
    source = """
class Fixed:
    def __init__(self, architecture):
        self.answer = architecture["answer"]

    def load(self, weights):
        self.size = len(weights)

    def predict(self, inputs):
        return inputs * 0 + self.answer

    def predict_named(self, inputs):
        return {"all": sum(inputs.values()) + self.answer}
"""
    entries = "[fedbus.runtimes]\nfixed = acme_fixed:Fixed\n[fedbus.trainers]\nfixed = nothing:here"
    install("acme_fixed", entries, source)
    assert runtime_for("fixed").frameworks == ("fixed",)
    predictor = load("fixed", SPEC, {"answer": 4}, digits(1))
    assert answers(predictor, np.zeros((1, 2), np.float32)).tolist() == [[4.0, 4.0]]
    specs = {"a": InputSpec((1,)), "b": InputSpec((1,))}
    served = ServedVersion("own", 1, specs, predictor)
    found = served.predict({"a": np.ones((2, 1)), "b": np.ones((2, 1))})
    assert found.arrays["all"].tolist() == [[6.0], [6.0]]


def test_a_spec_may_name_only_model_plug_ins_that_are_allowed(install: Install) -> None:
    """Ours need no permission, whatever others call theirs."""
    source = "def lenet(config):\n    raise ValueError('made')\nmlp = lenet"
    entries = "[fedbus.models]\nlenet = acme_nets:lenet\nmlp = acme_nets:mlp"
    install("acme_nets", entries, source)

    def made(architecture: Architecture) -> NoReturn:
        raise ValueError(f"asked for {architecture['name']}")

    for name, allowed in (("lenet", ["lenet"]), ("lenet", ["acme_nets"]), ("mlp", [])):
        with pytest.raises(ValueError, match=f"asked for {name}"):
            load("torch", SPEC, {"name": name}, digits(1), factory=lambda _: made, allowed=allowed)
    with pytest.raises(PluginError, match="'lenet' of acme_nets is not allowed here"):
        load("torch", SPEC, {"name": "lenet"}, digits(1), factory=lambda _: made, allowed=[])
