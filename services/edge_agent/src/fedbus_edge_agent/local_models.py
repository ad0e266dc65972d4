"""Models that were brought to this agent by hand: for standalone jobs, with no repository.

One folder for each version, `{name}~{version}`: its card, its weights as a blob, and the files the
card names, by digest. Each file is replaced atomically.
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
from fedbus.digests import digest_of_file
from fedbus.errors import FedbusError, StoreError, TransferError
from fedbus.frameworks.tflite_admission import TFLITE
from fedbus.frameworks.tflite_signatures import check_trainable
from fedbus.frameworks.tflite_verify import verify
from fedbus.layout import Layout
from fedbus.npz import read_blob
from fedbus.scalars import IDENT
from fedbus.weights import blob_size
from fedbus.wire import codec
from fedbus.wire.cards import files_of, named_files
from fedbus.wire.states import ModelCard
from fedbus.wire.values import Manifest
from fedbus_edge_agent.reports import ModelMetadata, ModelReport

_NAME = re.compile(IDENT)
_HEADERS = 1 << 20
"""Bytes that an upload may have beside the numbers: names, headers, the borders of its parts."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A version of a model, and where it lies."""

    folder: Path
    version: str
    card: ModelCard

    @property
    def weights(self) -> Path:
        """Where its weights are, if they were brought: a plain blob."""
        return self.folder / "weights.blob"

    def file(self, manifest: Manifest) -> Path:
        """Where a file is that the card names, if it was brought."""
        return self.folder / manifest.digest

    @property
    def numbers_size(self) -> int:
        """Bytes of its weights."""
        return blob_size(Layout.read(self.card.layout), "plain")

    @property
    def longest(self) -> int:
        """The most bytes that are of any use to be uploaded at once."""
        files = sum(manifest.size for manifest in files_of(self.card))
        return self.numbers_size + files + _HEADERS

    def missing(self, structure: str | None = None) -> list[str]:
        """Say which files must still be brought, for one structure or for all."""
        structures = self.card.structures
        chosen = structures.items() if structure is None else [(structure, structures[structure])]
        return [
            f"the file of {manifest.size} bytes with digest {manifest.digest}"
            for manifest in named_files(chosen)
            if not self.file(manifest).exists()
        ]

    def report(self) -> ModelReport:
        """Say what it is and what it lacks."""
        return ModelReport(
            model_name=self.card.model,
            model_version=self.version,
            missing=tuple(self.missing()),
            weights=self.weights.exists(),
        )


class LocalModels:
    """All of them, in one folder, which is made when the first one comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[LocalModel]:
        """List them, the one that came last at the end; what cannot be read is left out."""
        cards = sorted(self._folder.glob("*~*/card.json"), key=lambda path: path.stat().st_mtime_ns)
        return [model for card in cards if (model := _read(card)) is not None]

    def find(self, name: str, version: str | None) -> LocalModel | None:
        """Find a version; None is the one that came last."""
        if version is not None and not _NAME.fullmatch(version):
            return None  # it would be a path
        if version is not None:
            return _read(self._folder / f"{name}~{version}" / "card.json")
        return next((each for each in reversed(self.all()) if each.card.model == name), None)

    def add(self, metadata: ModelMetadata) -> Literal["new", "same", "other"]:
        """Take a card; a version that is here with another card stays as it is.

        Raises:
            FedbusError: the card cannot be used, or the disk is full.
        """
        card = ModelCard(
            model=metadata.model,
            layout=metadata.layout,
            structures=metadata.structures,
            input=metadata.input,
        )
        Layout.read(card.layout)
        files_of(card)
        known = self.find(metadata.model, metadata.model_version)
        if known is not None:
            return "same" if known.card == card else "other"
        folder = self._folder / f"{metadata.model}~{metadata.model_version}"
        with _disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(folder / "card.json", codec.to_json(card))
        return "new"

    @contextmanager
    def receiving(self, model: LocalModel) -> Iterator[Path]:
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

    def take_weights(self, model: LocalModel, upload: Path) -> None:
        """Take an .npz file for its weights.

        Raises:
            LayoutError: it holds others than the card says.
            StoreError: the disk is full.
        """
        blob = read_blob(upload, Layout.read(model.card.layout))
        with _disk(model.folder):
            atomic_write(model.weights, blob)

    def take_file(self, model: LocalModel, upload: Path) -> None:
        """Take a file that the card names, whichever it is.

        Raises:
            TransferError: the card names none with this content.
            TrainingError: it is the `.tflite` file of the card, and damaged or of no use.
            StoreError: the disk is full.
        """
        with _disk(model.folder):
            size, digest = upload.stat().st_size, _digest(upload)
            for manifest in files_of(model.card):
                if (manifest.size, manifest.digest) == (size, digest):
                    _check_file(model.card, manifest, upload)
                    upload.rename(model.file(manifest))
                    return
        named = ", ".join(f"{m.size} bytes {m.digest[:12]}" for m in files_of(model.card))
        raise TransferError(
            f"a file of {size} bytes with digest {digest[:12]}, which the card does not name; "
            f"it names {named or 'none'}"
        )


def _check_file(card: ModelCard, manifest: Manifest, upload: Path) -> None:
    """Refuse a `.tflite` file at the door; before it is opened it is tried as well."""
    structure = card.structures.get(TFLITE, {})
    if "blob" in structure and manifest in named_files([(TFLITE, structure)]):
        check_trainable(verify(upload.read_bytes()), Layout.read(card.layout))


def _read(path: Path) -> LocalModel | None:
    try:
        card = codec.from_json(ModelCard, path.read_bytes())
        Layout.read(card.layout)
    except (OSError, FedbusError):
        return None
    return LocalModel(path.parent, path.parent.name.partition("~")[2], card)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return digest_of_file(file.fileno())


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from error
