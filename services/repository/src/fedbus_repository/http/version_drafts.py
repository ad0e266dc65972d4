"""Drafts of versions, and the `meta` of versions: documents of the store. Called in threads.

A version begins as a draft: its metadata is stored, then its weights and files arrive in one form,
and the store inserts it as it inserts a push.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fedbus.http_api.json_documents import read_document
from fedbus.http_api.responses import ApiError
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.wire import codec
from fedbus.wire.json_reader import read_json
from fedbus_repository.http.document_handlers import too_many
from fedbus_repository.http.schemas import ModelUpload, VersionReport
from fedbus_repository.http.uploaded_versions import missing_files, spec_of
from fedbus_repository.http.version_reports import draft_name, draft_report, read_draft
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.damaged_records import DamagedRecordError
from fedbus_repository.stores.document_records import StoredDocument
from fedbus_repository.stores.records import ModelView


@dataclass(frozen=True, slots=True)
class VersionDrafts:
    """The drafts of a store's versions."""

    store: Store

    def create(self, body: bytes) -> VersionReport:
        """Store the draft of a new version; raise ApiError 400 if there is one of this number."""
        upload = read_document(ModelUpload, _with_model_name(body))
        spec_of(upload)
        model, next_number = upload.model_name, self.next_number(upload.model_name)
        number = upload.model_version or str(next_number)
        draft = draft_name(model, number)
        if number.isdigit() and 0 < int(number) < next_number:
            raise ApiError(
                400, f"model {model} has version {number}; the next one is {next_number}"
            )
        if number != str(next_number):
            raise ApiError(
                400, f"model_version: versions count, so the next one of {model} is {next_number}"
            )
        content = codec.to_json(upload)
        if len(content) > MAX_SPEC_BYTES:
            raise ApiError(413, f"a spec of {len(content)} bytes, at most {MAX_SPEC_BYTES}")
        stored = self.store.create_document("model-draft", draft, content)
        if stored is None:
            raise too_many("model-draft")
        if not stored:
            raise ApiError(
                400,
                f"version {number} of model {model} was created before; PUT /model/{model}/"
                f"{number} uploads its weights, DELETE removes the draft",
            )
        return self.report(model, number)

    def next_number(self, model: str) -> int:
        """Return the number of the next version of a model."""
        found = self.store.show(model, None, 0)
        return found.versions + 1 if isinstance(found, ModelView) else 1

    def find(self, model: str, number: str) -> StoredDocument | None:
        """Return the draft of a version; None once that version exists, made by whatever program.

        Such a draft is left where a job or a push made the version of its number meanwhile, or
        where the process was killed between the insertion and the deletion of the draft.
        """
        found = self.store.document("model-draft", draft_name(model, number))
        return found if found is not None and self.is_awaited(found) else None

    def is_awaited(self, draft: StoredDocument) -> bool:
        """Return whether the version of a draft does not exist yet."""
        model, _, number = draft.name.partition("/")
        return int(number) >= self.next_number(model)

    def listed(self, limit: int) -> list[StoredDocument]:
        """Return the drafts, `limit` at most, whose versions do not exist yet.

        A draft of a model with a damaged record is left out, so that the others are listed.
        """
        found: list[StoredDocument] = []
        for draft in self.store.documents("model-draft", limit):
            with suppress(DamagedRecordError):
                if self.is_awaited(draft):
                    found.append(draft)
        return found

    def report(self, model: str, number: str) -> VersionReport:
        """Return the report of a draft; raise ApiError 404 if there is none."""
        found = self.find(model, number)
        if found is None:
            raise ApiError(404, f"there is no model {model} of version {number}")
        upload = read_draft(found)
        return draft_report(found, upload, number, missing_files(self.store, spec_of(upload)))

    def finish(self, model: str, number: str, meta: bytes) -> None:
        """Delete the draft of a version that is stored, which gets its `meta`."""
        name = draft_name(model, number)
        if meta != b"{}":
            self.put_meta(name, meta)
        self.store.delete_document("model-draft", name)

    def put_meta(self, name: str, meta: bytes) -> None:
        """Store the `meta` of a version; raise ApiError 507 if there are too many."""
        if self.store.change_document("model-meta", name, meta):
            return
        if self.store.create_document("model-meta", name, meta) is None:
            raise too_many("model-meta", "the version is stored without it")

    def change_meta(self, draft: StoredDocument, meta: dict[str, Any]) -> None:
        """Replace the `meta` of a draft."""
        content = json.dumps({**json.loads(draft.content), "meta": meta}).encode()
        self.store.change_document("model-draft", draft.name, content)

    def delete(self, model: str, number: str) -> bool:
        """Delete a draft; return whether there was one.

        Raises:
            ApiError: 409, its version exists by now: who deletes it meant the draft, perhaps.
        """
        awaited = self.find(model, number) is not None
        if not self.store.delete_document("model-draft", draft_name(model, number)):
            return False
        if not awaited:
            raise ApiError(
                409,
                f"version {number} of model {model} exists by now; its draft is deleted, and"
                " another DELETE deletes the weights of the version",
            )
        return True


def _with_model_name(body: bytes) -> bytes:
    """Return an upload whose model is named `model_name`, as in ASSIST-IoT, or `model`."""
    tree: Any = read_json(body)
    if isinstance(tree, dict) and "model_name" not in tree and "model" in tree:
        tree = {"model_name": tree["model"]} | {k: v for k, v in tree.items() if k != "model"}
    return json.dumps(tree).encode()
