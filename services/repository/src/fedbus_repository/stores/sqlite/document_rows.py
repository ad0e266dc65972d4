# ruff: noqa: D102 - the methods are documented in DocumentRecords
"""SQL for documents of other programs: rows to records and back."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.document_records import DocumentKind, StoredDocument

_DOCUMENT = "kind, name, content, blob, blob_size, created, changed"


class DocumentRows:
    """`DocumentRecords` in SQLite."""

    _db: sqlite3.Connection

    def document(self, kind: DocumentKind, name: str) -> StoredDocument | None:
        row = self._db.execute(
            f"SELECT {_DOCUMENT} FROM documents WHERE kind = ? AND name = ?",  # noqa: S608 - constants
            (kind, name),
        ).fetchone()
        return None if row is None else _document_of(row)

    def documents(
        self, kind: DocumentKind, limit: int, prefix: str = "", after: str = ""
    ) -> Sequence[StoredDocument]:
        rows = self._db.execute(
            f"SELECT {_DOCUMENT} FROM documents WHERE kind = ? AND name > ?"  # noqa: S608 - constants
            " AND substr(name, 1, ?) = ? ORDER BY name LIMIT ?",
            (kind, after, len(prefix), prefix, limit),
        )
        return [_document_of(row) for row in rows]

    def count_documents(self, kind: DocumentKind) -> int:
        (count,) = self._db.execute(
            "SELECT COUNT(*) FROM documents WHERE kind = ?", (kind,)
        ).fetchone()
        return int(count)

    def put_document(self, document: StoredDocument) -> None:
        blob = document.blob
        self._db.execute(
            f"REPLACE INTO documents ({_DOCUMENT}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
            (
                *(document.kind, document.name, document.content),
                *((None, None) if blob is None else (blob.digest, blob.size)),
                *(document.created, document.changed),
            ),
        )

    def delete_document(self, kind: DocumentKind, name: str) -> None:
        self._db.execute("DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name))


def _document_of(row: Sequence[Any]) -> StoredDocument:
    kind, name, content, digest, size, created, changed = row
    return StoredDocument(
        kind=kind,
        name=name,
        content=content,
        blob=None if digest is None else BlobRef(digest=digest, size=size),
        created=created,
        changed=changed,
    )
