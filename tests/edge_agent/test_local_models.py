"""Models that were brought by hand: measured before they are unpacked, whole or not taken."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.digests import manifest_of
from fedbus.errors import FedbusError, LayoutError, StoreError, TransferError
from fedbus.layout import Layout
from fedbus.weights import decode
from fedbus.wire import codec
from fedbus.wire.states import TensorSpec
from fedbus_edge_agent import local_models
from fedbus_edge_agent.local_models import LocalModels
from fedbus_edge_agent.npz import MAX_NPY_HEADER_BYTES, read_npz, write_npz
from fedbus_edge_agent.reports import ModelMetadata
from tests.edge_agent.stand import FILE

ARRAYS: Mapping[str, Any] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b/c": np.array([7], np.int64),
}
LAYOUT = Layout.of(ARRAYS)
SPECS = tuple(TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype) for t in LAYOUT.tensors)


def metadata(name: str = "m", label: str = "1", **structures: Any) -> ModelMetadata:  # noqa: ANN401 - any structure
    """Describe a model; without structures, one with a file."""
    named = structures or {"tiny": {"blob": codec.to_plain(manifest_of(FILE))}, "torch": {}}
    return ModelMetadata(model=name, model_version=label, layout=SPECS, structures=named)


def saved(path: Path, **arrays: Any) -> Path:  # noqa: ANN401 - any array
    """Write an .npz file as numpy does."""
    np.savez(path, **(arrays or ARRAYS))
    return path


def upload(models: LocalModels, content: bytes, what: str = "file") -> None:
    """Bring something for model m."""
    model = models.find("m", "1")
    assert model is not None
    with models.receiving(model) as path:
        path.write_bytes(content)
        take = models.take_weights if what == "weights" else models.take_file
        take(model, path)
    assert not path.exists()


# ── weights ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_weights_are_what_numpy_wrote(tmp_path: Path, save: Any) -> None:  # noqa: ANN401 - numpy's
    """Packed or not, in whatever order of bytes, rows and columns."""
    turned = {"a": np.asfortranarray(ARRAYS["a"].astype(">f4")), "b/c": ARRAYS["b/c"]}
    save(tmp_path / "w.npz", **turned)
    read = decode(read_npz(tmp_path / "w.npz", LAYOUT), LAYOUT)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)


def test_weights_are_written_as_numpy_reads_them(tmp_path: Path) -> None:
    """And by ourselves."""
    path = tmp_path / "w.npz"
    write_npz(path, ARRAYS)
    with np.load(path, allow_pickle=False) as read:
        assert set(read.files) == set(ARRAYS)
        np.testing.assert_array_equal(read["a"], ARRAYS["a"])
    assert decode(read_npz(path, LAYOUT), LAYOUT)["b/c"] == 7
    with pytest.raises(StoreError, match="No such file"):
        write_npz(tmp_path / "gone" / "w.npz", ARRAYS)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"a": ARRAYS["a"]}, "the weights lack b/c"),
        ({**ARRAYS, "d": ARRAYS["a"]}, "the weights hold d, which the layout does not"),
        ({**ARRAYS, "a": np.zeros((3, 2), np.float32)}, r"'a': float32 \(3, 2\) where the layout"),
        ({**ARRAYS, "a": np.zeros((2, 3))}, "'a': float64"),
        ({**ARRAYS, "a": np.array([{}], object)}, "'a': object"),
        (
            {**ARRAYS, "a": np.zeros(10**6, np.float32)},
            "'a': 4000128 bytes where the layout has 24",
        ),
    ],
)
def test_other_weights_than_the_layouts_are_refused(
    tmp_path: Path, arrays: dict[str, Any], sentence: str
) -> None:
    """Before they are unpacked; nothing is ever unpickled."""
    with pytest.raises(LayoutError, match=sentence):
        read_npz(saved(tmp_path / "w.npz", **arrays), LAYOUT)


def test_a_small_file_that_claims_to_hold_much_is_not_believed(tmp_path: Path) -> None:
    """No memory is taken for what so few bytes cannot hold, whatever they say."""
    path = saved(tmp_path / "w.npz", a=np.zeros(3, np.float32))
    wide = Layout.of({"a": np.broadcast_to(np.float32(0), (2**30,))})
    with pytest.raises(LayoutError, match="140 bytes where the layout has 4294967296"):
        read_npz(path, wide)
    content = path.read_bytes()
    lie = struct.pack("<L", wide.tensors[0].size - 2**24 + 128)
    liar = content.replace(struct.pack("<L", 140), lie)
    path.write_bytes(liar)
    narrow = Layout.of({"a": np.broadcast_to(np.float32(0), (2**30 - 2**22,))})
    with pytest.raises(LayoutError, match=r"claims to hold 42\d+ bytes, which \d+ cannot"):
        read_npz(path, narrow)


def packed(path: Path, content: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    """Write an archive with something for a tensor."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.npy", content)
        archive.writestr("b/c.npy", content)
    return path


def test_what_is_no_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    """Torn, locked, packed oddly, with a header that is none."""
    good = saved(tmp_path / "good.npz").read_bytes()
    begin = b"\x93NUMPY\x01\x00"
    files = {
        "no zip": b"hello",
        "torn": good[: len(good) // 2],
        "no array": packed(tmp_path / "x.npz", b"hello").read_bytes(),
        "short": packed(tmp_path / "x.npz", begin + b"\xff\xff{").read_bytes(),
        "version": packed(tmp_path / "x.npz", b"\x93NUMPY\x02\x00" + b"\0" * 4).read_bytes(),
        "damaged": good.replace(struct.pack("<f", 5.0), struct.pack("<f", 6.0)),
        "lzma": packed(tmp_path / "x.npz", begin, zipfile.ZIP_LZMA).read_bytes(),
    }
    for name, content in files.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(LayoutError):
            read_npz(path, LAYOUT)
    assert MAX_NPY_HEADER_BYTES < 10**5


# ── models ────────────────────────────────────────────────────────────────────────────────────────


def test_a_model_is_brought_piece_by_piece(tmp_path: Path) -> None:
    """Its card, its file, its weights; it says what it lacks."""
    models = LocalModels(tmp_path / "models")
    assert models.all() == []
    assert models.find("m", None) is None
    assert models.add(metadata()) == "new"
    assert models.add(metadata()) == "same"
    assert models.add(metadata(tiny={"other": 1})) == "other"
    model = models.find("m", "1")
    assert model is not None
    named = f"the file of {len(FILE)} bytes with digest {manifest_of(FILE).digest}"
    assert model.report().missing == (named,)
    assert model.missing("torch") == []
    assert model.missing("tiny") == [named]
    assert not model.report().weights
    upload(models, FILE)
    upload(models, saved(tmp_path / "w.npz").read_bytes(), "weights")
    assert model.report().missing == ()
    assert model.report().weights
    assert decode(model.weights.read_bytes(), LAYOUT)["b/c"] == 7
    assert model.longest > model.numbers_size > LAYOUT.size


def test_the_version_that_came_last_is_the_one_that_is_meant(tmp_path: Path) -> None:
    """Unless a job names another; a path is no version."""
    models = LocalModels(tmp_path)
    for label in ("2", "1"):
        models.add(metadata(label=label))
        (tmp_path / f"m~{label}" / "card.json").touch()
    last = models.find("m", None)
    assert last is not None
    assert last.version == "1"
    assert [model.version for model in models.all()] == ["2", "1"]
    assert models.find("m", "3") is None
    assert models.find("m", "../m~1") is None


def test_a_file_that_no_card_names_is_refused(tmp_path: Path) -> None:
    """With what there should be."""
    models = LocalModels(tmp_path)
    models.add(metadata())
    with pytest.raises(TransferError, match=r"a file of 4 bytes with digest .* it names 18 bytes"):
        upload(models, b"what")
    models.add(metadata("plain", torch={}))
    plain = models.find("plain", "1")
    assert plain is not None
    with models.receiving(plain) as path, pytest.raises(TransferError, match="it names none"):
        models.take_file(plain, path)


@pytest.mark.parametrize(
    "bad",
    [
        metadata(tiny={"blob": 7}),
        metadata(tiny={"blob": {"digest": "0" * 64, "size": 2**29}}),
        ModelMetadata(
            model="m",
            layout=(TensorSpec(name="w", shape=(0,), dtype="float32"),),
            structures={"t": {}},
        ),
    ],
)
def test_a_card_that_cannot_be_used_is_not_kept(tmp_path: Path, bad: ModelMetadata) -> None:
    """Nor is a folder made for it."""
    with pytest.raises(FedbusError):
        LocalModels(tmp_path / "models").add(bad)
    assert not (tmp_path / "models").exists()


def test_a_card_that_is_torn_is_left_out(tmp_path: Path) -> None:
    """A power cut may tear it; it can be brought again."""
    models = LocalModels(tmp_path)
    models.add(metadata())
    (tmp_path / "m~1" / "card.json").write_bytes(b"{")
    assert models.all() == []
    assert models.add(metadata()) == "new"


def test_a_disk_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """Where and why."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"m~1: (Not a directory|File exists)"):
        LocalModels(tmp_path / "file").add(metadata())
    models = LocalModels(tmp_path)
    models.add(metadata())
    model = models.find("m", "1")
    assert model is not None
    gone = local_models.LocalModel(tmp_path / "gone", "1", model.card)
    with pytest.raises(StoreError, match="No such file"), models.receiving(gone):
        pass
