"""Weights kept in a file."""

import gc
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.cli.output_files import check_writable, write_weights
from fedbus.client.failures import Failed
from fedbus.client.packing import read_weights
from fedbus.errors import SettingsError

WEIGHTS: dict[str, Any] = {
    "w": np.ones((300, 300), np.float32),
    "layers.0.b": np.zeros((), np.float64),
}


@contextmanager
def little_room() -> Iterator[None]:
    """Limit all files to 4 KiB, as on a full disk, the tests' own log included."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    quiet = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, quiet)


def test_weights_are_read_back_as_they_were(tmp_path: Path) -> None:
    """By us and by numpy, over an older file too."""
    for _ in range(2):
        write_weights(tmp_path / "w.npz", WEIGHTS)
    back = read_weights(tmp_path / "w.npz")
    assert back.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(back[name], array, strict=True)
    assert [file.name for file in tmp_path.iterdir()] == ["w.npz"]


def test_a_full_disk_leaves_nothing_but_a_sentence(tmp_path: Path) -> None:
    """No half of a file, and no archive that fails once more when it is collected."""
    with little_room(), pytest.raises(Failed, match=r"w\.npz: File too large"):
        write_weights(tmp_path / "w.npz", WEIGHTS)
    gc.collect()  # what is raised there is an error here
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nothing_can_be_written_is_said_before(tmp_path: Path) -> None:
    """And a place that is fit is left as it was."""
    with pytest.raises(SettingsError, match=r"w\.npz: cannot be written: No such file"):
        check_writable(tmp_path / "nowhere" / "w.npz")
    with pytest.raises(SettingsError, match="is a folder; give the path of a file"):
        check_writable(tmp_path)
    (tmp_path / "w.npz").write_bytes(b"old")
    check_writable(tmp_path / "w.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["w.npz"]
    assert (tmp_path / "w.npz").read_bytes() == b"old"
