# ruff: noqa: D102 - the methods are documented in DocumentRecords
"""Documents of other programs in MongoDB, each one document with the reference to its file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.document_records import DocumentKind, StoredDocument
from fedbus_repository.stores.mongo.job_collection import JobCollection

DOCUMENTS: Final = "documents"
_BY_NAME: Final = (("name", 1),)
_BEHIND_NAMES: Final = "\x7f"
"""A character behind all those of names, which are ASCII."""


class DocumentCollection(JobCollection):
    """`DocumentRecords` in MongoDB."""

    def document(self, kind: DocumentKind, name: str) -> StoredDocument | None:
        found = self._collections.find_one(DOCUMENTS, _key(kind, name))
        return None if found is None else document_of(found)

    def documents(
        self, kind: DocumentKind, limit: int, prefix: str = "", after: str = ""
    ) -> Sequence[StoredDocument]:
        if limit < 1:
            return []
        found_by: dict[str, Any] = {"kind": kind}
        found_by["name"] = {"$gt": after, "$gte": prefix, "$lt": prefix + _BEHIND_NAMES}
        found = self._collections.find(DOCUMENTS, found_by, order=_BY_NAME, limit=limit)
        return [document_of(each) for each in found]

    def count_documents(self, kind: DocumentKind) -> int:
        return self._collections.count(DOCUMENTS, {"kind": kind})

    def put_document(self, document: StoredDocument) -> None:
        key = _key(document.kind, document.name)
        fields, blob = _fields(document), document.blob
        if self._collections.find_one(DOCUMENTS, key, fields={"kind": 1}) is None:
            self._collections.insert(DOCUMENTS, key | fields)
            return
        change: dict[str, Any] = {"$set": fields}
        if blob is None:
            change["$unset"] = {"blob": "", "blob_size": ""}
        self._collections.update(DOCUMENTS, key, change)

    def delete_document(self, kind: DocumentKind, name: str) -> None:
        self._collections.delete(DOCUMENTS, _key(kind, name))

    def referenced_digests(self) -> set[str]:
        found = self._collections.each(DOCUMENTS, {}, order=_BY_NAME, fields={"blob": 1})
        return super().referenced_digests() | {each["blob"] for each in found if "blob" in each}

    def unreferenced(self, digests: Iterable[str]) -> list[str]:
        left = super().unreferenced(digests)
        found = self._collections.find(
            DOCUMENTS, {"blob": {"$in": left}}, order=_BY_NAME, fields={"blob": 1}
        )
        referenced = {each["blob"] for each in found}
        return [digest for digest in left if digest not in referenced]


def stored_document(document: StoredDocument) -> dict[str, Any]:
    """Return the document of this collection that holds a document of another program."""
    return _key(document.kind, document.name) | _fields(document)


def _fields(document: StoredDocument) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "content": document.content,
        "created": document.created,
        "changed": document.changed,
    }
    if document.blob is not None:
        fields |= {"blob": document.blob.digest, "blob_size": document.blob.size}
    return fields


def _key(kind: DocumentKind, name: str) -> dict[str, Any]:
    return {"kind": kind, "name": name}


def document_of(document: Mapping[str, Any]) -> StoredDocument:
    """Return what a document of this collection holds."""
    digest = document.get("blob")
    return StoredDocument(
        kind=document["kind"],
        name=document["name"],
        content=bytes(document["content"]),
        blob=None if digest is None else BlobRef(digest=digest, size=document["blob_size"]),
        created=document["created"],
        changed=document["changed"],
    )
