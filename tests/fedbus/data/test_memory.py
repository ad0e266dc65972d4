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


measured = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells what memory is"
)


def large(*words: object) -> dict[str, Any]:
    """Run `large.py`, and read what it says."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("large.py")), *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.system
@measured
def test_two_gigabytes_on_disk_train_in_less_than_300_mb(tmp_path: Path) -> None:
    """All of them once, with TensorFlow Lite; a mean device has no more."""
    pytest.importorskip("tflite_runtime")
    sparse(tmp_path / "x.npy", "float64", (ROWS, WIDTH))
    sparse(tmp_path / "y.npy", "uint8", (ROWS,))
    size = (tmp_path / "x.npy").stat().st_size
    assert size > 2e9
    began = time.monotonic()
    said = large(tmp_path)
    assert (said["examples"], said["progress"]) == (ROWS, 1.0)
    assert said["moved"] > 0
    assert said["private"] < 300 * MIB, said
    assert said["resident"] < 400 * MIB, said
    assert time.monotonic() - began < 120, said


@measured
def test_one_large_row_group_of_a_parquet_file_is_never_held(tmp_path: Path) -> None:
    """Written as pyarrow writes by default; when all is read, hardly anything is kept."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows, width = 2**20, 24
    rng = np.random.default_rng(0)
    table = {f"x{n}": rng.standard_normal(rows, np.float32) for n in range(width)}
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({**table, "y": np.arange(rows) % 10}), path)
    assert path.stat().st_size > 100e6
    assert pq.ParquetFile(path).metadata.num_row_groups == 1
    said = large("parquet", path)
    assert said["rows"] == rows
    assert said["loaded"] < 64 * MIB, said
    assert said["most"] < 128 * MIB, said
    assert said["after"] < 64 * MIB, said
