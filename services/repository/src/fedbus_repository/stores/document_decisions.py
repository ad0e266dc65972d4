# ruff: noqa: D102 - the methods are documented in DocumentStore
"""Decisions about documents of other programs: what is a duplicate, and which files are deleted."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.document_records import (
    MAX_DOCUMENTS,
    DocumentKind,
    StoredDocument,
)
from fedbus_repository.stores.job_record_decisions import JobRecordDecisions
from fedbus_repository.stores.record_database import Records


class DocumentDecisions(JobRecordDecisions):
    """The part of a `Store` that concerns documents."""

    def document(self, kind: DocumentKind, name: str) -> StoredDocument | None:
        with self._database.reading(f"reading {kind} {name}") as records:
            return records.document(kind, name)

    def documents(
        self, kind: DocumentKind, limit: int, prefix: str = "", after: str = ""
    ) -> Sequence[StoredDocument]:
        with self._database.reading(f"listing documents of the kind {kind}") as records:
            return records.documents(kind, limit, prefix, after)

    def create_document(self, kind: DocumentKind, name: str, content: bytes) -> bool | None:
        with self._database.writing(f"storing {kind} {name}") as records:
            if records.document(kind, name) is not None:
                return False
            if records.count_documents(kind) >= MAX_DOCUMENTS:
                return None
            at = self._now()
            records.put_document(
                StoredDocument(kind=kind, name=name, content=content, created=at, changed=at)
            )
            return True

    def change_document(self, kind: DocumentKind, name: str, content: bytes) -> bool:
        with self._database.writing(f"changing {kind} {name}") as records:
            found = records.document(kind, name)
            if found is not None:
                records.put_document(replace(found, content=content, changed=self._now()))
            return found is not None

    def attach_file(self, kind: DocumentKind, name: str, blob: BlobRef) -> bool:
        with self._database.lock:  # until old files are deleted, so that no push references one
            with self._database.writing(f"storing the file of {kind} {name}") as records:
                found = records.document(kind, name)
                if found is None:
                    return False
                self._blobs.require(blob, f"the file of {kind} {name}")
                records.put_document(replace(found, blob=blob, changed=self._now()))
                left = _unreferenced(records, () if found.blob is None else (found.blob,))
            self._blobs.delete(left)
        return True

    def delete_document(self, kind: DocumentKind, name: str) -> bool:
        with self._database.lock:
            with self._database.writing(f"deleting {kind} {name}") as records:
                found = records.document(kind, name)
                if found is None:
                    return False
                records.delete_document(kind, name)
                left = _unreferenced(records, () if found.blob is None else (found.blob,))
            self._blobs.delete(left)
        return True


def _unreferenced(records: Records, blobs: Iterable[BlobRef]) -> list[str]:
    return records.unreferenced(blob.digest for blob in blobs)
