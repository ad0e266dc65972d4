"""The memory of a service that has seen many versions."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
from dataclasses import replace
import numpy as np
from fedbus import demo_data
from fedbus.model.layout import Layout
from fedbus.model.blob import encode
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec
from fedbus_inference.core import InferenceCore
from fedbus_inference.model_runtimes import runtime_for
from tests.inference.harness import Harness

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

harness = Harness()
harness.core = InferenceCore(runtime_for("tflite"))
spec = codec.from_json(ModelSpec, demo_data.read("model.json"))
layout = Layout.read(spec.layout)
file = harness.store(demo_data.read("digits.tflite"))
named = {"tflite": {"blob": {"digest": file.digest, "size": file.size}}}
held = harness.store(codec.to_json(replace(spec, architectures=named)))
for version in range(1, 701):
    value = np.float32(version)
    arrays = {tensor.name: np.full(tensor.shape, value) for tensor in layout.tensors}
    blob = harness.store(bytes(encode(arrays, layout)))
    harness.announce(version, model="digits", spec=held, digest=blob.digest, size=blob.size)
    harness.settle()
    harness.ask([[0.5] * 64], model="digits")
    harness.settle()
    assert harness.answer()["version"] == version
    del harness.blobs[blob.digest]  # what the harness itself keeps
    harness.fetched.clear()
    harness.notes.clear()
    if version == 200:
        before = resident()
print(resident() - before)
"""


@pytest.mark.skipif(not find_spec("tflite_runtime"), reason="no tflite-runtime")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_service_does_not_grow_with_its_versions() -> None:
    """A TFLite model leaves 27 KB behind when it goes, 13 MB in 500 versions."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 2048
