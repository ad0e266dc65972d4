"""The inference service on a board: its own requirements alone, and little memory."""

import os
from pathlib import Path

import pytest

from benchmarks.board_environment import required
from benchmarks.inference_memory import ALONE, FLOOR, TOPIC, measured

FLOOR_MB = 45.3
"""What asyncio, numpy and tflite-runtime take with a model, without any code of fedbus."""
LIMITS_MB = {TOPIC: 60.0, ALONE: 85.0}
"""The first is what docs/inference.md promises; the second is above the 80 that are measured, and
below what one more package such as torch takes."""


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
    found = {row["asked"]: row["resident_mb"] for row in rows}
    # Right after an installation the kernel maps more pages of the libraries' files: the process
    # without fedbus shows how much more.
    more = max(0.0, found[FLOOR] - FLOOR_MB)
    above = {asked for asked, limit in LIMITS_MB.items() if found[asked] > limit + more}
    assert not above, rows
