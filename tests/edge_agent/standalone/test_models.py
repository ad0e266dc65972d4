"""Uploaded models: stored whole or not at all."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.errors import FedbusError, StoreError, TransferError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.wire import codec
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus_edge_agent.standalone import models as local_models
from fedbus_edge_agent.standalone.models import UploadedModels
from fedbus_edge_agent.standalone.schemas import ModelMetadata
from tests.edge_agent.harness import FILE

ARRAYS: Mapping[str, Any] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b/c": np.array([7], np.int64),
}
LAYOUT = Layout.of(ARRAYS)
SPECS = tuple(TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype) for t in LAYOUT.tensors)


def metadata(name: str = "m", label: str = "1", **architectures: Any) -> ModelMetadata:  # noqa: ANN401 - any architecture
    """Return a model's metadata; without architectures, one with a file."""
    named = architectures or {"tiny": {"blob": codec.to_plain(blob_ref_of(FILE))}, "torch": {}}
    return ModelMetadata(model=name, model_version=label, layout=SPECS, architectures=named)


def saved(path: Path, **arrays: Any) -> Path:  # noqa: ANN401 - any array
    """Write an .npz file with numpy."""
    np.savez(path, **(arrays or ARRAYS))
    return path


def upload(models: UploadedModels, content: bytes, what: str = "file") -> None:
    """Upload a file or weights for model m."""
    model = models.find("m", "1")
    assert model is not None
    with models.receiving(model) as path:
        path.write_bytes(content)
        take = models.store_weights if what == "weights" else models.store_file
        take(model, path)
    assert not path.exists()


def test_every_field_of_a_spec_is_stored(tmp_path: Path) -> None:
    """Also those that decide how the agent trains: the meaning of the outputs, the least batch."""
    stated: dict[str, Any] = {
        "model": "m",
        "layout": SPECS,
        "architectures": {"torch": {}},
        "input": {"data_type": {"image": {"size": [2]}}},
        "preprocessing": ({"id": "scale"},),
        "raw_input": {"shape": [2]},
        "answers": "probabilities",
        "classes": ("a", "b"),
        "least_batch": 2,
    }
    assert stated.keys() == {each.name for each in fields(ModelSpec)}
    models = UploadedModels(tmp_path / "models")
    models.add(ModelMetadata(model_version="7", **stated))
    found = models.find("m", "7")
    assert found is not None
    assert found.spec == ModelSpec(**stated)


def test_a_model_is_uploaded_part_by_part(tmp_path: Path) -> None:
    """Its spec, its file, its weights; its report names what is missing."""
    models = UploadedModels(tmp_path / "models")
    assert models.all() == []
    assert models.find("m", None) is None
    assert models.add(metadata()) == "new"
    assert models.add(metadata()) == "same"
    assert models.add(metadata(tiny={"other": 1})) == "other"
    model = models.find("m", "1")
    assert model is not None
    named = f"the file of {len(FILE)} bytes with digest {blob_ref_of(FILE).digest}"
    assert model.report().missing == (named,)
    assert model.missing("torch") == []
    assert model.missing("tiny") == [named]
    assert not model.report().weights
    upload(models, FILE)
    upload(models, saved(tmp_path / "w.npz").read_bytes(), "weights")
    assert model.report().missing == ()
    assert model.report().weights
    assert decode(model.weights.read_bytes(), LAYOUT)["b/c"] == 7
    assert model.max_upload_bytes > model.weights_bytes > LAYOUT.size


def test_the_newest_upload_is_found_by_default(tmp_path: Path) -> None:
    """Unless a job names another version; a path is no version."""
    models = UploadedModels(tmp_path)
    for label in ("2", "1"):
        models.add(metadata(label=label))
        (tmp_path / f"m~{label}" / "spec.json").touch()
    last = models.find("m", None)
    assert last is not None
    assert last.version == "1"
    assert [model.version for model in models.all()] == ["2", "1"]
    assert models.find("m", "3") is None
    assert models.find("m", "../m~1") is None


def test_a_file_that_no_spec_names_is_refused(tmp_path: Path) -> None:
    """With what the spec names."""
    models = UploadedModels(tmp_path)
    models.add(metadata())
    with pytest.raises(TransferError, match=r"a file of 4 bytes with digest .* it names 22 bytes"):
        upload(models, b"what")
    models.add(metadata("plain", torch={}))
    plain = models.find("plain", "1")
    assert plain is not None
    with models.receiving(plain) as path, pytest.raises(TransferError, match="it names none"):
        models.store_file(plain, path)


@pytest.mark.parametrize(
    "bad",
    [
        metadata(tiny={"blob": 7}),
        metadata(tiny={"blob": {"digest": "0" * 64, "size": 2**29}}),
        ModelMetadata(
            model="m",
            layout=(TensorSpec(name="w", shape=(0,), dtype="float32"),),
            architectures={"t": {}},
        ),
    ],
)
def test_a_spec_that_cannot_be_used_is_not_stored(tmp_path: Path, bad: ModelMetadata) -> None:
    """Nor is a folder created for it."""
    with pytest.raises(FedbusError):
        UploadedModels(tmp_path / "models").add(bad)
    assert not (tmp_path / "models").exists()


def test_an_incomplete_spec_is_skipped(tmp_path: Path) -> None:
    """A power cut may leave one; it can be uploaded again."""
    models = UploadedModels(tmp_path)
    models.add(metadata())
    (tmp_path / "m~1" / "spec.json").write_bytes(b"{")
    assert models.all() == []
    assert models.add(metadata()) == "new"


def test_an_unwritable_disk_is_reported(tmp_path: Path) -> None:
    """With the path and the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"m~1: (Not a directory|File exists)"):
        UploadedModels(tmp_path / "file").add(metadata())
    models = UploadedModels(tmp_path)
    models.add(metadata())
    model = models.find("m", "1")
    assert model is not None
    gone = local_models.UploadedModel(tmp_path / "gone", "1", model.spec)
    with pytest.raises(StoreError, match="No such file"), models.receiving(gone):
        pass
