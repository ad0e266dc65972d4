"""Repository of a local folder, as far as an inference service asks one: a core. Pure.

It scans the folder, announces the newest version of each model, serves its blobs, and packs an
older version when it is asked for. A version whose files have just changed is left alone until two
scans find the same; one that cannot be packed is put aside with the reason, until a file changes,
and the version before is announced if none is yet.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from fedbus.core.actions import Action, Announce, Note, Run, Send, Serve, Unserve, WakeAt
from fedbus.core.events import Connected, Event, Ran, Received, RunFailed, Woke
from fedbus.core.interface import Core
from fedbus.core.keys import Key
from fedbus.errors import RequestRefusalKind
from fedbus.text import listed
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import KeptVersion, ModelShown, ShowModel
from fedbus.wire.refusals import refusal_of_request
from fedbus.wire.topics import MODEL_LATEST
from fedbus_inference.model_updater import latest_of
from fedbus_inference.standalone.folder_model import FolderModel
from fedbus_inference.standalone.model_folders import Fingerprint, ScannedModels, VersionFiles
from fedbus_inference.standalone.packed_versions import PackedVersion

SCAN_SECONDS: Final = 2.0
SETTLED_SECONDS: Final = 1.0
"""Files that have not changed for this long are taken as whole at the first scan."""
MAX_PACKED_VERSIONS: Final = 4
"""Versions of a model whose blobs are kept in memory."""

Scan: TypeAlias = Callable[[], ScannedModels]
Pack: TypeAlias = Callable[[VersionFiles], PackedVersion]


class FolderScan(Key):
    """Run that looks for models, and the timer of the next one."""


@dataclass(frozen=True, slots=True)
class VersionPacking(Key):
    """Run that packs a version."""

    model: str
    version: int


@dataclass(frozen=True, slots=True)
class BytesBlob:
    """A blob in memory: a BlobSource."""

    data: bytes | bytearray

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return len(self.data)

    def read(self, offset: int, length: int, /) -> bytes:
        """Return bytes from an offset."""
        return bytes(self.data[offset : offset + length])


class FolderRepository(Core):
    """Announces, shows and serves the versions of a folder."""

    def __init__(self, name: str, scan: Scan, pack: Pack) -> None:
        self._name = name
        self._scan = scan
        self._pack = pack
        self._models: dict[str, FolderModel] = {}
        self._seen: dict[tuple[str, int], Fingerprint] = {}
        self._passed_over: dict[str, str] = {}
        self._packing: VersionPacking | None = None
        self._asked: dict[VersionPacking, dict[tuple[str, ShowModel], None]] = {}
        self._fault = ""

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Scan, pack, announce and answer."""
        match event:
            case Connected() | Woke(FolderScan()):
                yield Run(FolderScan(), self._scan)
            case Ran(FolderScan(), ScannedModels() as found):
                self._fault = ""
                yield from self._scanned(found)
                yield WakeAt(FolderScan(), now + SCAN_SECONDS)
            case RunFailed(FolderScan(), error):
                yield from self._not_scanned(str(error))
                yield WakeAt(FolderScan(), now + SCAN_SECONDS)
            case Ran(VersionPacking() as key, PackedVersion() as version):
                self._packing = None
                yield from self._packed(key, version)
                yield from self._pack_next()
            case RunFailed(VersionPacking() as key, error):
                self._packing = None
                yield from self._set_aside(key, str(error) or type(error).__name__)
                yield from self._pack_next()
            case Received(sender, ShowModel() as message):
                yield from self._show(sender, message)

    def _scanned(self, found: ScannedModels) -> Iterator[Action]:
        for entry, reason in found.passed_over.items():
            if self._passed_over.get(entry) != reason:
                yield Note("model_folder_passed_over", {"entry": entry, "reason": reason})
        self._passed_over = dict(found.passed_over)
        for model, versions in found.versions.items():
            self._models.setdefault(model, FolderModel()).update(versions)
        for model in self._models.keys() - found.versions.keys():
            self._models[model].files = {}  # what is loaded keeps answering
        yield from self._pack_next()
        self._seen = {
            (name, version): files.fingerprint
            for name, model in self._models.items()
            for version, files in model.files.items()
        }

    def _not_scanned(self, reason: str) -> Iterator[Action]:
        if reason != self._fault:
            self._fault = reason
            yield Note("models_not_scanned", {"reason": reason})

    def _pack_next(self) -> Iterator[Action]:
        """Pack one version: what was asked for first, then what is newest."""
        if self._packing is not None:
            return
        for key in self._wanted():
            model = self._models[key.model]
            files = model.files.get(key.version)
            if files is None:
                continue
            settled = self._seen.get((key.model, key.version)) == files.fingerprint
            if settled or files.idle_seconds >= SETTLED_SECONDS:
                self._packing = key
                yield Run(key, partial(self._pack, files))
                return

    def _wanted(self) -> Iterator[VersionPacking]:
        yield from list(self._asked)
        for name, model in self._models.items():
            if (version := model.next()) is not None:
                yield VersionPacking(name, version)

    def _packed(self, key: VersionPacking, version: PackedVersion) -> Iterator[Action]:
        model = self._models[key.model]
        old = model.packed.pop(key.version, None)
        model.packed[key.version] = version
        dropped = [old] if old else []
        while len(model.packed) > MAX_PACKED_VERSIONS:
            oldest = next(iter(model.packed))
            dropped.append(model.packed.pop(oldest))
        for each in dropped:
            for digest in each.packed.blobs:
                yield Unserve(digest)
        for each in model.packed.values():
            for digest, data in each.packed.blobs.items():
                yield Serve(digest, BytesBlob(data))
        for warning in version.packed.warnings:
            yield Note("model_folder_warning", {"model": key.model, "reason": warning})
        if key.version >= model.announced:
            model.announced = key.version
            yield Announce(MODEL_LATEST, latest_of(self._reference(key, version)))
        for sender, _ in self._asked.pop(key, ()):
            yield self._shown(sender, key)

    def _set_aside(self, key: VersionPacking, reason: str) -> Iterator[Action]:
        model = self._models[key.model]
        files = model.files.get(key.version)
        if files is not None:
            model.put_aside[key.version] = files.fingerprint, reason
        facts = {"model": key.model, "version": key.version, "reason": reason}
        yield Note("model_folder_put_aside", facts)
        for sender, message in self._asked.pop(key, ()):
            yield self._refused(sender, message, f"version {key.version}: {reason}")

    def _show(self, sender: str, message: ShowModel) -> Iterator[Action]:
        model = self._models.get(message.model)
        if model is None or not model.files:
            known = listed(self._models) or "none yet"
            yield self._refused(
                sender, message, f"no such model; the folder has {known}", "unknown"
            )
            return
        number = max(model.files) if message.version is None else message.version
        if message.name is not None:
            sentence = "versions of a folder have no aliases"
            yield self._refused(sender, message, sentence, "unknown")
        elif number not in model.files:
            known = listed(map(str, sorted(model.files)))
            sentence = f"no version {number}; the folder has {known}"
            yield self._refused(sender, message, sentence, "unknown")
        elif reason := model.reason(number):
            yield self._refused(sender, message, f"version {number}: {reason}")
        elif model.is_packed(number):
            yield self._shown(sender, VersionPacking(message.model, number))
        else:
            asked = self._asked.setdefault(VersionPacking(message.model, number), {})
            asked[sender, message] = None
            yield from self._pack_next()

    def _shown(self, sender: str, key: VersionPacking) -> Action:
        model = self._models[key.model]
        newest_first = sorted(model.files, reverse=True)
        kept = tuple(KeptVersion(version=each, why="pushed") for each in newest_first)
        reference = self._reference(key, model.packed[key.version])
        shown = ModelShown(version=reference, history=(), versions=len(kept), kept=kept[:1_000])
        return Send(sender, shown)

    def _refused(
        self,
        sender: str,
        message: ShowModel,
        reason: str,
        kind: RequestRefusalKind = "conflict",
    ) -> Action:
        return Send(sender, refusal_of_request(message, message.model, reason, kind))

    def _reference(self, key: VersionPacking, version: PackedVersion) -> ModelRef:
        push = version.packed.push
        return ModelRef(
            model=key.model,
            version=key.version,
            weights=push.weights,
            spec=push.spec,
            source=self._name,
        )
