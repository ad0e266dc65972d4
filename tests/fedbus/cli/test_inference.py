"""Requests made of files."""

import json
from pathlib import Path

import msgpack
import numpy as np
import pytest

from fedbus.cli.inference import JSON, MSGPACK, array_of, request, row_line
from fedbus.errors import SettingsError


def test_an_array_crosses_as_its_bytes(tmp_path: Path) -> None:
    """Whatever byte order and strides it had on disk."""
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    np.save(tmp_path / "x.npy", array)
    payload, kind = request(tmp_path / "x.npy")
    sent = msgpack.unpackb(payload)["inputs"]
    assert (kind, sent["dtype"], sent["shape"]) == (MSGPACK, "float32", [3, 2])
    np.testing.assert_array_equal(array_of(sent), array)


@pytest.mark.parametrize("said", [[[1, 2]], {"inputs": [[1, 2]]}])
def test_json_may_leave_out_the_wrapping(tmp_path: Path, said: object) -> None:
    """People have lists."""
    (tmp_path / "x.json").write_text(json.dumps(said))
    payload, kind = request(tmp_path / "x.json")
    assert (kind, json.loads(payload)) == (JSON, {"inputs": [[1, 2]]})


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.json", b"{", "neither an .npy array nor JSON"),
        ("x.json", b"{}", 'a request is {"inputs"'),
        ("x.json", b"3", 'a request is {"inputs"'),
        ("x.npy", b"", "neither an .npy array nor JSON"),
        ("x.npy", b"\x93NUMPY", "neither an .npy array nor JSON"),
    ],
)
def test_a_file_without_inputs_is_refused_at_home(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    """Nothing is sent."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError, match=sentence):
        request(tmp_path / name)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(SettingsError, match=r"nowhere\.json: No such file or directory$"):
        request(tmp_path / "nowhere.json")


def test_a_row_names_its_largest_output_first() -> None:
    """For a classifier that is the answer."""
    assert row_line([0.1, 0.9]) == "1  (0.9)  0.100 0.900"
    assert row_line([[1]]) == "[[1]]"
    assert row_line(0.5) == "0.5"
