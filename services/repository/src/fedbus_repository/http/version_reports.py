"""Reports of versions and drafts for the HTTP API. Called in threads.

They go through the functions that remove what users may not read of private rounds.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus_repository.handlers.catalog import version_facts
from fedbus_repository.http.schemas import (
    AvailableFile,
    FileReport,
    ModelUpload,
    VersionReport,
)
from fedbus_repository.http.uploaded_versions import spec_of
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.damaged_records import DamagedRecordError
from fedbus_repository.stores.document_records import StoredDocument
from fedbus_repository.stores.records import ModelView, Version

FILE_PREFIX: Final = "model/"


def draft_name(model: str, number: str) -> str:
    """Return the name of the documents about a version."""
    return f"{model}/{number}"


def read_draft(document: StoredDocument) -> ModelUpload:
    """Return the upload that a draft has."""
    return codec.from_json(ModelUpload, document.content)


def draft_report(
    document: StoredDocument, upload: ModelUpload, number: str, missing: Iterable[BlobRef]
) -> VersionReport:
    """Return the report of a draft."""
    return VersionReport(
        model_name=upload.model_name,
        model_version=number,
        model_id=None,
        weights=None,
        missing=tuple(FileReport(digest=file.digest, size=file.size) for file in missing),
        upload_date=document.created,
        meta=upload.meta,
        spec=codec.to_plain(spec_of(upload)),
    )


def version_report(store: Store, version: Version, spec: ModelSpec | None = None) -> VersionReport:
    """Return the report of a version."""
    facts = version_facts(version)
    meta = store.document("model-meta", draft_name(version.model, str(version.version)))
    weights = facts.weights
    return VersionReport(
        model_name=version.model,
        model_version=str(facts.version),
        model_id=weights.digest,
        weights=FileReport(digest=weights.digest, size=weights.size),
        kept=facts.kept,
        training_id=facts.job,
        round=facts.round,
        metrics=facts.metrics,
        strategy=None if facts.strategy is None else facts.strategy.id,
        epsilon=None if facts.privacy is None else facts.privacy.epsilon,
        encrypted=facts.encryption is not None,
        parent=facts.parent,
        base=facts.base,
        upload_date=facts.at,
        meta={} if meta is None else json.loads(meta.content),
        spec=None if spec is None else codec.to_plain(spec),
    )


def available_files(store: Store, limit: int, after: str) -> list[AvailableFile]:
    """Return the weights that can be fetched, by model and version, behind the file name `after`.

    A model's name is taken as `after` as well: then no version of it is returned. A model with a
    damaged record is left out, so that the others are listed.
    """
    parts = after.removeprefix(FILE_PREFIX).split("/")
    after_model, last = parts[0], int(parts[1]) if parts[1:] and parts[1].isdigit() else None
    found: list[AvailableFile] = []
    for model in sorted(each.model for each in store.latest() if each.model >= after_model):
        if len(found) >= limit or (model == after_model and last is None):
            continue
        first = last + 1 if model == after_model and last is not None else 1
        with suppress(DamagedRecordError):
            found += _available_versions(store, model, first, limit - len(found))
    return found


def _available_versions(store: Store, model: str, first: int, limit: int) -> list[AvailableFile]:
    view = store.show(model, None, 0)
    kept = sorted(number for number, _ in view.kept) if isinstance(view, ModelView) else []
    numbers = [number for number in kept if number >= first][:limit]
    shown = [store.show(model, number, 0) for number in numbers]
    return [_available(each.version) for each in shown if isinstance(each, ModelView)]


def _available(version: Version) -> AvailableFile:
    return AvailableFile(
        filename=f"{FILE_PREFIX}{version.model}/{version.version}",
        length=version.weights.size,
        upload_date=version.at,
        digest=version.weights.digest,
    )
