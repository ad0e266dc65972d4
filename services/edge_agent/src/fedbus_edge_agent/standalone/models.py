"""Models that were brought to this agent by hand: for standalone jobs, with no repository.

One folder for each version, `{name}~{version}`: its spec, its weights as a blob, and the files the
spec names, by digest. Each file is replaced atomically.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedbus.atomic_write import atomic_write
from fedbus.digest import digest_of_file
from fedbus.errors import FedbusError, StoreError, TransferError
from fedbus.frameworks.tflite.admission import TFLITE
from fedbus.frameworks.tflite.signatures import check_trainable
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.blob import blob_size
from fedbus.model.layout import Layout
from fedbus.model.npz import read_blob
from fedbus.scalars import IDENT
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.model_spec import files_of, named_files
from fedbus_edge_agent.standalone.schemas import ModelMetadata, ModelReport

_NAME = re.compile(IDENT)
_HEADERS = 1 << 20
"""Bytes that an upload may have beside the numbers: names, headers, the borders of its parts."""


@dataclass(frozen=True, slots=True)
class UploadedModel:
    """A version of a model, and where it lies."""

    folder: Path
    version: str
    spec: ModelSpec

    @property
    def weights(self) -> Path:
        """Where its weights are, if they were brought: a plain blob."""
        return self.folder / "weights.blob"

    def file(self, blob_ref: BlobRef) -> Path:
        """Where a file is that the spec names, if it was brought."""
        return self.folder / blob_ref.digest

    @property
    def numbers_size(self) -> int:
        """Bytes of its weights."""
        return blob_size(Layout.read(self.spec.layout), "plain")

    @property
    def longest(self) -> int:
        """The most bytes that are of any use to be uploaded at once."""
        files = sum(blob_ref.size for blob_ref in files_of(self.spec))
        return self.numbers_size + files + _HEADERS

    def missing(self, architecture: str | None = None) -> list[str]:
        """Say which files must still be brought, for one architecture or for all."""
        architectures = self.spec.architectures
        chosen = (
            architectures.items()
            if architecture is None
            else [(architecture, architectures[architecture])]
        )
        return [
            f"the file of {blob_ref.size} bytes with digest {blob_ref.digest}"
            for blob_ref in named_files(chosen)
            if not self.file(blob_ref).exists()
        ]

    def report(self) -> ModelReport:
        """Say what it is and what it lacks."""
        return ModelReport(
            model_name=self.spec.model,
            model_version=self.version,
            missing=tuple(self.missing()),
            weights=self.weights.exists(),
        )


class UploadedModels:
    """All of them, in one folder, which is made when the first one comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[UploadedModel]:
        """List them, the one that came last at the end; what cannot be read is left out."""
        specs = sorted(self._folder.glob("*~*/spec.json"), key=lambda path: path.stat().st_mtime_ns)
        return [model for spec in specs if (model := _read(spec)) is not None]

    def find(self, name: str, version: str | None) -> UploadedModel | None:
        """Find a version; None is the one that came last."""
        if version is not None and not _NAME.fullmatch(version):
            return None  # it would be a path
        if version is not None:
            return _read(self._folder / f"{name}~{version}" / "spec.json")
        return next((each for each in reversed(self.all()) if each.spec.model == name), None)

    def add(self, metadata: ModelMetadata) -> Literal["new", "same", "other"]:
        """Take a spec; a version that is here with another spec stays as it is.

        Raises:
            FedbusError: the spec cannot be used, or the disk is full.
        """
        spec = ModelSpec(
            model=metadata.model,
            layout=metadata.layout,
            architectures=metadata.architectures,
            input=metadata.input,
        )
        Layout.read(spec.layout)
        files_of(spec)
        known = self.find(metadata.model, metadata.model_version)
        if known is not None:
            return "same" if known.spec == spec else "other"
        folder = self._folder / f"{metadata.model}~{metadata.model_version}"
        with _disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(folder / "spec.json", codec.to_json(spec))
        return "new"

    @contextmanager
    def receiving(self, model: UploadedModel) -> Iterator[Path]:
        """Make a file to be uploaded into; what is left of it afterwards is removed.

        Raises:
            StoreError: the disk is full.
        """
        with _disk(model.folder):
            handle, name = tempfile.mkstemp(dir=model.folder, prefix=".upload-")
            os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def take_weights(self, model: UploadedModel, upload: Path) -> None:
        """Take an .npz file for its weights.

        Raises:
            LayoutError: it holds others than the spec says.
            StoreError: the disk is full.
        """
        blob = read_blob(upload, Layout.read(model.spec.layout))
        with _disk(model.folder):
            atomic_write(model.weights, blob)

    def take_file(self, model: UploadedModel, upload: Path) -> None:
        """Take a file that the spec names, whichever it is.

        Raises:
            TransferError: the spec names none with this content.
            TrainingError: it is the `.tflite` file of the spec, and damaged or of no use.
            StoreError: the disk is full.
        """
        with _disk(model.folder):
            size, digest = upload.stat().st_size, _digest(upload)
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
    """Refuse a `.tflite` file at the door; before it is opened it is tried as well."""
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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return digest_of_file(file.fileno())


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from error
