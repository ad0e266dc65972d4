"""Trainer of TFLite: files with signatures, and very little memory."""

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.data import from_arrays
from fedbus.data.digits import write_digits
from fedbus.errors import PluginError, TrainingError
from fedbus.frameworks.tflite import calls
from fedbus.frameworks.tflite import trainer as tflite
from fedbus.frameworks.tflite.file import Signature
from fedbus.frameworks.tflite.trainer import TfliteTrainer
from fedbus.frameworks.tflite.verify import verify
from fedbus.training.params import Architecture, TrainingParams

DIGITS = demo_data.read("digits.tflite")
RUNTIMES = ("tflite_runtime", "ai_edge_litert", "tensorflow")
pytestmark = pytest.mark.skipif(not any(map(find_spec, RUNTIMES)), reason="no TFLite runtime")


@pytest.mark.parametrize(
    ("architecture", "sentence"),
    [
        ({}, "a tflite architecture has a blob"),
        ({"name": "mlp"}, "this one has name"),
        ({"blob": {"digest": "0", "size": 1}}, "this one has blob, a dict"),
        ({"blob": b""}, r"not a whole \.tflite file"),
        ({"blob": b"nope" * 100}, r"not a whole \.tflite file"),
        ({"blob": DIGITS[: len(DIGITS) // 2]}, r"not a whole \.tflite file: model\."),
    ],
)
def test_a_architecture_that_is_no_tflite_file_is_refused(
    architecture: Architecture, sentence: str
) -> None:
    """Whatever the spec says."""
    with pytest.raises(TrainingError, match=sentence):
        TfliteTrainer(architecture)


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
    """And the error must not ask for something that no data set has."""
    file = demo_data.read("digits.tflite").replace(b"momentum\x00", b"moments_\x00")
    trainer, data = TfliteTrainer({"blob": file}), from_arrays(np.ones((1, 64)), np.zeros(1, int))
    with pytest.raises(TrainingError, match="exported without momentum"):
        trainer.train(trainer.initial(), data, TrainingParams(optimizer_args={"momentum": 0.9}))
    with pytest.raises(TrainingError, match=r"the model cannot take .*'x': "):
        trainer.train(trainer.initial(), data, TrainingParams())


def test_a_file_that_cannot_hand_out_its_state_is_not_asked_to_keep_it() -> None:
    """One that was made before; plain SGD has nothing to keep."""
    file = demo_data.read("digits.tflite").replace(b"get_state\x00", b"got_state\x00")
    trainer, data = TfliteTrainer({"blob": file}), from_arrays(np.ones((1, 64)), np.zeros(1, int))
    kept = TrainingParams(optimizer_args={"momentum": 0.9}, keep_optimizer_state=True)
    with pytest.raises(TrainingError, match=r"without get_state .* export it again, or leave"):
        trainer.train(trainer.initial(), data, kept)
    trainer.train(trainer.initial(), data, TrainingParams(keep_optimizer_state=True))
    assert set(trainer.optimizer_state()) == {"made_by"}
    trainer.train(trainer.initial(), data, TrainingParams(optimizer_args={"momentum": 0.9}))


def test_a_file_of_fixed_batches_says_so_at_a_shorter_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deep inside, TFLite would say something of a tensor's number."""
    trainer = TfliteTrainer({"blob": DIGITS})
    fixed = {**trainer._inputs["x"], "shape_signature": [16, 64]}  # noqa: SLF001 - as such a file has it
    monkeypatch.setitem(trainer._inputs, "x", fixed)  # noqa: SLF001
    data = from_arrays(np.ones((20, 64), np.float32), np.zeros(20, int))
    with pytest.raises(TrainingError, match=r"takes 16 rows at once, and x has 4: .*open"):
        trainer.train(trainer.initial(), data, TrainingParams(batch_size=16))


def test_many_rows_are_answered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request with many rows cannot take any amount of memory; the outputs are the same."""
    rows = np.random.default_rng(1).random((70, 64), np.float32)
    whole = TfliteTrainer({"blob": DIGITS}).predict(rows)
    monkeypatch.setattr(tflite, "PREDICTED_BYTES", 32 * verify(DIGITS).bytes)
    trainer, sizes = TfliteTrainer({"blob": DIGITS}), []
    run = calls.run

    def watched(signature: Signature, inputs: Mapping[str, Any]) -> dict[str, Any]:
        sizes.append(len(inputs["x"]))
        return run(signature, inputs)

    monkeypatch.setattr(tflite, "run", watched)
    np.testing.assert_allclose(np.asarray(trainer.predict(rows)), np.asarray(whole), atol=1e-6)
    assert sizes == [32, 32, 6]


def test_without_a_runtime_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base agent has none."""
    for name in ("tflite_runtime", "ai_edge_litert", "tensorflow.lite.python"):
        forbidden = f"{name}.interpreter"
        monkeypatch.setitem(sys.modules, forbidden, None)  # Python's own way to forbid an import
    with pytest.raises(PluginError, match=r'pip install "fedbus\[tflite\]"'):
        TfliteTrainer({"blob": DIGITS})


@pytest.mark.skipif(not find_spec("tflite_runtime"), reason="no tflite-runtime")
def test_beside_numpy_2_a_sentence_says_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was compiled for numpy 1: left to itself it prints a page and raises a SystemError."""
    monkeypatch.setattr(np, "__version__", "2.4.6")
    for name in ("ai_edge_litert", "tensorflow.lite.python"):
        monkeypatch.setitem(sys.modules, f"{name}.interpreter", None)
    sentence = (
        r'tflite-runtime 2\.14\.\d+ needs numpy 1, and numpy 2\.4\.6 .* pip install "numpy<2"'
    )
    with pytest.raises(PluginError, match=sentence):
        TfliteTrainer({"blob": demo_data.read("digits.tflite")})


BROKEN = {
    "import": "raise AttributeError('_ARRAY_API not found')",
    "use": """
class Interpreter:
    def __init__(self, model_content: bytes, num_threads: int) -> None:
        raise SystemError("CreateWrapperFromBuffer returned NULL")
""",
}


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_a_runtime_that_does_not_load_is_named_with_numpys_version(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback of C code does not name the two packages that do not fit."""
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter", "tensorflow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ("tflite_runtime", "tensorflow.lite.python"):
        monkeypatch.setitem(sys.modules, f"{name}.interpreter", None)
    with pytest.raises(
        PluginError, match=rf"ai_edge_litert does not load beside numpy {np.__version__}"
    ):
        TfliteTrainer({"blob": DIGITS})


PROGRAM = """
import re, sys
from fedbus import demo_data
from fedbus.data import npz
from fedbus.frameworks import tflite
from fedbus.frameworks.tflite.trainer import TfliteTrainer
from fedbus.frameworks.tflite.file import Signature
from fedbus.frameworks.tflite.verify import verify
from fedbus.training.params import TrainingParams

trainer = TfliteTrainer({"blob": demo_data.read("digits.tflite")})
data = npz(sys.argv[1])
update = trainer.train(trainer.initial(), data, TrainingParams(epochs=5))
trainer.evaluate(update.weights, data, TrainingParams())
assert "pydantic" not in sys.modules  # 8 MB that nothing here needs
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
