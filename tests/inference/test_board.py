"""The inference service on a board: its own requirements alone, and little memory."""

import os
from pathlib import Path

import pytest

from benchmarks.board_environment import required
from benchmarks.inference_memory import measured

LIMITS_MB = (67.0, 92.0)
"""Above what is measured (62 and 86), and below what one more package such as torch takes."""


@pytest.mark.system
def test_a_board_answers_digits_with_tflite_runtime_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over a topic, and alone with a folder of models."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert not {"torch", "tensorflow", "grpcio", "onnxruntime", "motor", "typer"} & {*required()}
    rows = measured(tmp_path)
    with capsys.disabled():
        for row in rows:
            print(row)  # noqa: T201 - the figures, whatever the outcome
    assert [row["resident_mb"] <= limit for row, limit in zip(rows, LIMITS_MB, strict=True)] == [
        True,
        True,
    ], rows
