"""What only TFLite has: a file with signatures, and very little memory."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.data import of
from fedbus.data.digits import write_digits
from fedbus.errors import PluginError, TrainingError
from fedbus.frameworks.tflite import TfliteTrainer
from fedbus.training import Params, Structure

RUNTIMES = ("tflite_runtime", "ai_edge_litert", "tensorflow")
pytestmark = pytest.mark.skipif(not any(map(find_spec, RUNTIMES)), reason="no TFLite runtime")


@pytest.mark.parametrize(
    ("structure", "sentence"),
    [
        ({}, "a tflite structure has a blob"),
        ({"name": "mlp"}, "this one has name"),
        ({"blob": {"digest": "0", "size": 1}}, "this one has blob, a dict"),
        ({"blob": b""}, "not a .tflite file that runs here"),
        ({"blob": b"nope" * 100}, "not a .tflite file that runs here"),
    ],
)
def test_a_structure_that_is_no_tflite_file_is_refused(structure: Structure, sentence: str) -> None:
    """Whatever the card says."""
    with pytest.raises(TrainingError, match=sentence):
        TfliteTrainer(structure)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (b"get_weights\x00", b"got_weights\x00", "has no signature 'get_weights'"),
        (b"learning_rate\x00", b"leaning_rate_\x00", "'train' has no learning_rate"),
    ],
)
def test_a_file_without_the_four_signatures_cannot_be_trained(
    old: bytes, new: bytes, sentence: str
) -> None:
    """A model exported for inference only, say."""
    file = demo_data.read("digits.tflite")
    assert old in file
    with pytest.raises(TrainingError, match=sentence):
        TfliteTrainer({"blob": file.replace(old, new)})


def test_a_file_that_knows_no_momentum_is_not_asked_for_it() -> None:
    """And what it asks for instead, nobody can give."""
    file = demo_data.read("digits.tflite").replace(b"momentum\x00", b"moments_\x00")
    trainer, data = TfliteTrainer({"blob": file}), of(np.ones((1, 64)), np.zeros(1, int))
    with pytest.raises(TrainingError, match="exported without momentum"):
        trainer.train(trainer.initial(), data, Params(optimizer_args={"momentum": 0.9}))
    with pytest.raises(TrainingError, match=r"the model cannot take .*'x': "):
        trainer.train(trainer.initial(), data, Params())


def test_without_a_runtime_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base agent has none."""
    for name in ("tflite_runtime", "ai_edge_litert", "tensorflow.lite.python"):
        forbidden = f"{name}.interpreter"
        monkeypatch.setitem(sys.modules, forbidden, None)  # Python's own way to forbid an import
    with pytest.raises(PluginError, match=r'pip install "fedbus\[tflite\]"'):
        TfliteTrainer({"blob": b"anything"})


PROGRAM = """
import re, sys
from fedbus import demo_data
from fedbus.data import npz
from fedbus.frameworks.tflite import TfliteTrainer
from fedbus.training import Params

trainer = TfliteTrainer({"blob": demo_data.read("digits.tflite")})
data = npz(sys.argv[1])
trainer.evaluate(trainer.train(trainer.initial(), data, Params(epochs=5)).weights, data, Params())
status = open("/proc/self/status").read()
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_an_agent_that_trains_needs_less_than_60_megabytes(tmp_path: Path) -> None:
    """So that a board with 512 MB can take part; this is the peak of the whole process."""
    shard = write_digits(tmp_path, 8)[0]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(shard)], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 60
