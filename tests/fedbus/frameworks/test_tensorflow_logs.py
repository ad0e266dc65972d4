"""Suppression of TensorFlow's start-up logs, and of nothing else."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from fedbus.frameworks.tensorflow_logs import LOG_LEVEL, suppressed_logs

NOISE = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1795247228.369824   23060 port.cc:153] oneDNN custom operations are on.\n"
    b"W0000 00:00:1795247234.860916   23060 helpers.cc:364] Ignored output_format.\n"
    b"E0000 00:00:1795256930.2432   12 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA\n"
)
ERROR = b"E0000 00:00:1795247233.071514   23060 platform.cc:52] failed call\n"


def test_only_the_lines_of_its_loggers_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Errors are not, nor what the author's module prints; in the end all is as it was."""
    monkeypatch.delenv(LOG_LEVEL, raising=False)
    with suppressed_logs():
        os.write(2, NOISE + ERROR)
        os.write(2, b"mine\n")
        os.write(2, NOISE)
    os.write(2, NOISE)
    assert capfd.readouterr().err.encode() == ERROR + b"mine\n" + NOISE
    assert LOG_LEVEL not in os.environ


def test_what_was_said_before_an_error_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And the error passes."""
    monkeypatch.delenv(LOG_LEVEL, raising=False)
    with pytest.raises(ValueError, match="wrong"), suppressed_logs():  # noqa: PT012 - said, then raised
        os.write(2, ERROR + NOISE)
        raise ValueError("wrong")
    assert capfd.readouterr().err.encode() == ERROR


def test_who_asks_for_all_of_it_gets_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By TensorFlow's own word."""
    monkeypatch.setenv(LOG_LEVEL, "0")
    with suppressed_logs():
        os.write(2, NOISE)
    assert capfd.readouterr().err.encode() == NOISE


@pytest.mark.skipif(not find_spec("tensorflow"), reason="no TensorFlow")
def test_the_keras_trainer_is_imported_without_a_word() -> None:
    """An agent's log is JSON, line by line, and `fedbus plugins` is read by people."""
    program = (
        "from fedbus.frameworks.keras import KerasTrainer\nimport tensorflow as tf\ntf.ones(1) + 1"
    )
    environ = {name: value for name, value in os.environ.items() if name != LOG_LEVEL}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ
    )
    assert done.stdout + done.stderr == ""
