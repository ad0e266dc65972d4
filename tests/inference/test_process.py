"""The service as people start it: a process, a real broker, real frameworks."""

import os
import subprocess
import sys

import pytest

from benchmarks.inference import run


@pytest.mark.system
def test_a_process_answers_through_a_broker_in_every_encoding() -> None:
    """The benchmark asks it, so it is known to work; what it measures is not for a test."""
    measured = run(20, ["json", "msgpack", "raw"])["measured"]
    assert [figures["encoding"] for figures in measured] == ["json", "msgpack", "raw"]
    assert all(figures["ratio"] > 0 for figures in measured)


@pytest.mark.system
def test_a_process_that_cannot_run_models_says_so_and_ends() -> None:
    """Exit code 2 and one sentence: a bad setting, not a crash."""
    environ = os.environ | {"FEDBUS_RUNTIME": "torhc"}
    ended = subprocess.run(
        [sys.executable, "-m", "fedbus_inference"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        "fedbus-inference: FEDBUS_RUNTIME='torhc': expected an installed runtime"
    )
    assert "Traceback" not in ended.stderr
