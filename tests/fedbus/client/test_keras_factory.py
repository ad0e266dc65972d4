"""A model from its author's own Keras code, with a file for those who have TFLite only."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedbus.cli.inputs.model_argument import ModelOptions, packed_model
from fedbus.client.model_factory import make_model
from fedbus.client.packed_model import PackedModel
from fedbus.data import from_arrays
from fedbus.data.digits import digits
from fedbus.errors import SettingsError, TrainingError
from fedbus.frameworks.tflite.trainer import TfliteTrainer
from fedbus.jobs import parse
from fedbus.jobs import training_params_of as told_by
from fedbus.model.blob import decode
from fedbus.model.layout import Layout, Weights
from fedbus.mqtt.mosquitto import free_port
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import TrainingParams

pytest.importorskip("tensorflow")

from fedbus.frameworks.keras import KerasTrainer

AEROS = Path(__file__).parents[3] / "examples" / "aeros"

SOURCE = """
import fedbus.frameworks.keras
import keras
from keras import layers


def conv():
    keras.utils.set_random_seed(1)
    return keras.Sequential([
        keras.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(10, activation="softmax"),
    ])


def values():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.compile(loss="mse")
    return model


def recurrent():
    return keras.Sequential([keras.Input((4, 3)), layers.LSTM(2), layers.Dense(2)])


def code():
    return keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x), layers.Dense(2)])


def odd():
    return keras.Sequential([keras.Input((4,)), layers.Dense(2, kernel_regularizer="l2")])
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write the author's module where it can be imported."""
    name = f"their_keras_{abs(hash(tmp_path))}"
    tmp_path.joinpath(f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def first(pushed: PackedModel) -> Weights:
    """Read the pushed weights as an agent does."""
    layout = Layout.read(pushed.spec().layout)
    return decode(bytes(pushed.blobs[pushed.push.weights.digest]), layout, "plain")


def file_of(pushed: PackedModel) -> bytes:
    """Take the TFLite file out of what is pushed."""
    return bytes(pushed.blobs[pushed.spec().architectures["tflite"]["blob"]["digest"]])


def test_agents_of_both_frameworks_train_what_was_pushed_alike(module: str) -> None:
    """One architecture for Keras, a file for TFLite, the same weights: updates can be averaged."""
    pushed = make_model(f"{module}:conv", "pictures", None)
    assert pushed.spec().input == {"data_types": {"image": {"size": [8, 8, 1]}}}
    trainers = (
        KerasTrainer(pushed.spec().architectures["keras"]),
        TfliteTrainer({"blob": file_of(pushed)}),
    )
    x, y = digits()
    data, weights = from_arrays(x[:64].reshape(-1, 8, 8, 1), y[:64]), first(pushed)
    one, other = (
        t.train(weights, data, TrainingParams(learning_rate=0.1)).weights for t in trainers
    )
    for name, before in weights.items():
        np.testing.assert_allclose(one[name], other[name], atol=1e-4)
        assert not np.array_equal(one[name], before)


def test_a_push_may_ask_for_a_file_that_takes_a_strategys_terms(module: str) -> None:
    """Other files of the model decline them with the command that makes this one."""
    factory = f"{module}:values"
    wanted = packed_model(factory, ModelOptions(local_terms=True))
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    data, weights, terms = from_arrays(x, x[:, :2]), first(wanted), LocalTerms(proximal=2.0)
    params = TrainingParams(loss="mse", epochs=4, learning_rate=0.1)
    plain = TfliteTrainer({"blob": file_of(make_model(factory, None, None))})
    with pytest.raises(TrainingError, match=r"push package\.module:factory --local-terms"):
        plain.use_local_terms(terms)
    moved = []
    for trainer in (plain, TfliteTrainer({"blob": file_of(wanted)})):
        if trainer is not plain:
            trainer.use_local_terms(terms)
        found = trainer.train(weights, data, params).weights
        moved.append(sum(float(((found[n] - a) ** 2).sum()) for n, a in weights.items()))
    assert moved[1] < 0.9 * moved[0]  # the proximal term keeps the weights near the base


def test_a_model_of_values_says_so_to_all(module: str) -> None:
    """By the loss it is compiled for."""
    pushed = make_model(f"{module}:values", None, None, (4,))
    assert pushed.spec().input == {"data_types": {"numerical": {"size": [4]}}}
    with pytest.raises(SettingsError, match=r"--input: \(5,\), but .*:values made takes \(4,\)"):
        make_model(f"{module}:values", None, None, (5,))
    assert pushed.spec().answers == "values"
    trainer = TfliteTrainer({"blob": file_of(pushed)})
    data = from_arrays(np.ones((3, 4), np.float32), np.ones((3, 2), np.float32))
    assert set(trainer.train(first(pushed), data, TrainingParams(loss="mse")).metrics) == {"loss"}


def test_what_tflite_cannot_train_is_pushed_for_keras_alone(module: str) -> None:
    """With a warning that names the layer."""
    with pytest.warns(UserWarning, match="Keras agents only: layer 0, LSTM"):
        pushed = make_model(f"{module}:recurrent", None, None)
    assert set(pushed.spec().architectures) == {"keras"}


@pytest.mark.filterwarnings("default")  # as a command has it
def test_a_person_is_told_so_in_a_line(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file and a line of ours."""
    packed_model(f"{module}:recurrent", ModelOptions())
    assert re.fullmatch(r"warning: no TFLite file, [^\n]*\n", capsys.readouterr().err)


def test_nothing_of_tensorflows_own_words_reaches_a_person(module: str, tmp_path: Path) -> None:
    """Imported by the author's module, exported, and then there is no broker: that is said."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "FEDBUS_"))}
    broker = f"mqtt://user.me:secret@127.0.0.1:{free_port()}"
    words = ("-m", "fedbus.cli", "--broker", broker, "models", "push", f"{module}:conv")
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environ,
    )
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "127.0.0.1" in line


@pytest.mark.parametrize(
    ("factory", "sentence"),
    [("code", "layer 0: no layer 'Lambda'"), ("odd", "layer 0, Dense: .*kernel_regularizer")],
)
def test_what_agents_could_not_make_again_is_refused(
    module: str, factory: str, sentence: str
) -> None:
    """By its name."""
    with pytest.raises(TrainingError, match=sentence):
        make_model(f"{module}:{factory}", None, None)


def test_a_job_of_aeros_trains_as_it_stands() -> None:
    """Keras, Adam with amsgrad, reducelronplateau, numbers as strings."""
    told = told_by(parse(AEROS.joinpath("job.json").read_bytes()))
    asked = replace(told, seed=1)
    assert asked.optimizer_args["amsgrad"] is True
    assert asked.scheduler is not None
    assert asked.scheduler.name == "reducelronplateau"
    spec = json.loads(AEROS.joinpath("model.json").read_text())
    trainer = KerasTrainer(spec["architectures"]["keras"])
    x, y = digits()
    data = from_arrays(x, y)
    weights = trainer.initial()
    before = trainer.evaluate(weights, data, asked)
    for _ in range(3):
        weights = trainer.train(weights, data, asked).weights
    after = trainer.evaluate(weights, data, asked)
    assert after["loss"] < before["loss"] * 0.7
    assert after["accuracy"] > 0.6


MEASURED = """
import re, sys
import fedbus_edge_agent.__main__
from fedbus.data import npz
from fedbus.frameworks.tflite.trainer import TfliteTrainer
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import TrainingParams
trainer = TfliteTrainer({"blob": open(sys.argv[1], "rb").read()})
data = npz(sys.argv[2])
params = TrainingParams(epochs=5, learning_rate=0.1)
score = trainer.evaluate(trainer.train(trainer.initial(), data, params).weights, data, params)
assert score["accuracy"] > 0.6, score
assert not {"tensorflow", "torch"} & sys.modules.keys()
status = open("/proc/self/status").read()
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_convolutional_network_trains_within_110_megabytes(module: str, tmp_path: Path) -> None:
    """The peak of a process that has all of an agent's code imported."""
    pytest.importorskip("tflite_runtime")
    file = tmp_path / "conv.tflite"
    file.write_bytes(file_of(make_model(f"{module}:conv", None, None)))
    x, y = digits()
    np.savez(tmp_path / "rows.npz", x=x.reshape(-1, 8, 8, 1), y=y)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(file), str(tmp_path / "rows.npz")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figure = re.fullmatch(r"([\d.]+)\n", done.stdout)
    assert figure, done.stdout
    sys.stdout.write(f"{figure[1]} MB\n")
    assert float(figure[1]) <= 110
