"""However large the data are, a process that trains on them stays small."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROWS, WIDTH = 2**22, 64
MIB = 2**20


def sparse(path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    """Write the head of an array, and holes for its numbers: they are read as zeros."""
    with path.open("wb") as file:
        described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        numpy_format: Any = np.lib.format  # numpy 1 has no types for it
        numpy_format.write_array_header_1_0(file, described)
        file.truncate(file.tell() + int(np.prod(shape)) * np.dtype(dtype).itemsize)


@pytest.mark.system
@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells what memory is"
)
def test_two_gigabytes_on_disk_train_in_less_than_300_mb(tmp_path: Path) -> None:
    """All of them once, with TensorFlow Lite; a mean device has no more."""
    pytest.importorskip("tflite_runtime")
    sparse(tmp_path / "x.npy", "float64", (ROWS, WIDTH))
    sparse(tmp_path / "y.npy", "uint8", (ROWS,))
    size = (tmp_path / "x.npy").stat().st_size
    assert size > 2e9
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("large.py")), str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["examples"], said["progress"]) == (ROWS, 1.0)
    assert said["moved"] > 0
    assert said["private"] < 300 * MIB, said
    assert said["resident"] < 400 * MIB, said
    assert time.monotonic() - began < 120, said
