"""Models that users upload to this agent for standalone jobs.

Each version has a folder `{name}~{version}` with its spec, its weights as a blob, and the files of
the spec, named by their digests. Each file is replaced atomically.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from fedbus.atomic_write import atomic_write, os_errors_as_store_errors
from fedbus.digest import digest_of_file
from fedbus.errors import FedbusError, TransferError
from fedbus.frameworks.tflite.admission import TFLITE
from fedbus.frameworks.tflite.signatures import check_trainable
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.blob_header import blob_size
from fedbus.model.layout import Layout
from fedbus.model.npz import read_blob
from fedbus.scalars import IDENT
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.spec_files import files_of, named_files
from fedbus_edge_agent.standalone.schemas import ModelMetadata, ModelReport

_OVERHEAD_BYTES = 1 << 20
"""What an upload may have beside weights and files: names, headers, boundaries of its parts."""


@dataclass(frozen=True, slots=True)
class UploadedModel:
    """A version of a model, in its folder."""

    folder: Path
    version: str
    spec: ModelSpec

    @property
    def weights(self) -> Path:
        """Path of the weights, a blob of the encoding `plain`; it may not exist."""
        return self.folder / "weights.blob"

    def file(self, blob_ref: BlobRef) -> Path:
        """Return the path of a file of the spec; it may not exist."""
        return self.folder / blob_ref.digest

    @property
    def weights_bytes(self) -> int:
        """Size of the weights."""
        return blob_size(Layout.read(self.spec.layout), "plain")

    @property
    def max_upload_bytes(self) -> int:
        """Size of an upload of the weights and all files of the spec."""
        files = sum(blob_ref.size for blob_ref in files_of(self.spec))
        return self.weights_bytes + files + _OVERHEAD_BYTES

    def missing(self, architecture: str | None = None) -> list[str]:
        """Describe the files that were not uploaded yet, of one architecture or of all."""
        chosen = self.spec.architectures
        if architecture is not None:
            chosen = {architecture: chosen[architecture]}
        return [
            f"the file of {blob_ref.size} bytes with digest {blob_ref.digest}"
            for blob_ref in named_files(chosen.items())
            if not self.file(blob_ref).exists()
        ]

    def report(self) -> ModelReport:
        """Return name, version, missing files and whether there are weights."""
        return ModelReport(
            model_name=self.spec.model,
            model_version=self.version,
            missing=tuple(self.missing()),
            weights=self.weights.exists(),
        )


@dataclass(frozen=True, slots=True)
class UploadedModels:
    """All uploaded models, below one folder that the first upload creates."""

    folder: Path

    def all(self) -> list[UploadedModel]:
        """Return all versions, the newest upload at the end; skip those it cannot read."""
        specs = sorted(self.folder.glob("*~*/spec.json"), key=lambda path: path.stat().st_mtime_ns)
        return [model for spec in specs if (model := _read(spec)) is not None]

    def find(self, name: str, version: str | None) -> UploadedModel | None:
        """Return a version, or with None the newest upload of a model; None if there is none."""
        if version is None:
            return next((each for each in reversed(self.all()) if each.spec.model == name), None)
        if not re.fullmatch(IDENT, version):
            return None  # it could be a path to another folder
        return _read(self.folder / f"{name}~{version}" / "spec.json")

    def add(self, metadata: ModelMetadata) -> Literal["new", "same", "other"]:
        """Store a spec, unless the version has one; return how that compares with the given one.

        Raises:
            FedbusError: The spec cannot be used, or the disk is full.
        """
        spec = ModelSpec(**{each.name: getattr(metadata, each.name) for each in fields(ModelSpec)})
        Layout.read(spec.layout)
        files_of(spec)
        known = self.find(metadata.model, metadata.model_version)
        if known is not None:
            return "same" if known.spec == spec else "other"
        folder = self.folder / f"{metadata.model}~{metadata.model_version}"
        with os_errors_as_store_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(folder / "spec.json", codec.to_json(spec))
        return "new"

    @contextmanager
    def receiving(self, model: UploadedModel) -> Iterator[Path]:
        """Create a temporary file for an upload, or raise StoreError; remove it unless moved."""
        with os_errors_as_store_errors(model.folder):
            handle, name = tempfile.mkstemp(dir=model.folder, prefix=".upload-")
            os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def store_weights(self, model: UploadedModel, upload: Path) -> None:
        """Store an uploaded .npz file as a model's weights.

        Raises:
            LayoutError: The arrays do not match the spec's layout.
            StoreError: The disk is full.
        """
        blob = read_blob(upload, Layout.read(model.spec.layout))
        with os_errors_as_store_errors(model.folder):
            atomic_write(model.weights, blob)

    def store_file(self, model: UploadedModel, upload: Path) -> None:
        """Store an uploaded file as the file of the spec that has its digest.

        Raises:
            TransferError: The spec names no file with this digest.
            TrainingError: The file is the spec's `.tflite` file, and damaged or not trainable.
            StoreError: The disk is full.
        """
        with os_errors_as_store_errors(model.folder):
            with upload.open("rb") as file:
                size, digest = upload.stat().st_size, digest_of_file(file.fileno())
            for blob_ref in files_of(model.spec):
                if (blob_ref.size, blob_ref.digest) == (size, digest):
                    _check_file(model.spec, blob_ref, upload)
                    upload.rename(model.file(blob_ref))
                    return
        named = ", ".join(f"{m.size} bytes {m.digest[:12]}" for m in files_of(model.spec))
        raise TransferError(
            f"a file of {size} bytes with digest {digest[:12]}, which the spec does not name; "
            f"it names {named or 'none'}"
        )


def _check_file(spec: ModelSpec, blob_ref: BlobRef, upload: Path) -> None:
    """Reject a `.tflite` file that cannot train; a child process tries it before its first use."""
    architecture = spec.architectures.get(TFLITE, {})
    if "blob" in architecture and blob_ref in named_files([(TFLITE, architecture)]):
        check_trainable(verify(upload.read_bytes()), Layout.read(spec.layout))


def _read(path: Path) -> UploadedModel | None:
    try:
        spec = codec.from_json(ModelSpec, path.read_bytes())
        Layout.read(spec.layout)
    except (OSError, FedbusError):
        return None
    return UploadedModel(path.parent, path.parent.name.partition("~")[2], spec)
