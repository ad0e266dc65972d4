"""Documents of other programs that a store keeps: JSON, and the file that belongs to it. Pure.

Strategies, transformations, collectors, results and drafts of model versions are documents. The
repository stores and serves their files; it never loads, unpickles or executes one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from fedbus.wire.blobs import BlobRef
from fedbus.wire.identifiers import Timestamp

DocumentKind: TypeAlias = Literal[
    "strategy", "transformation", "collector", "training-result", "model-draft", "model-meta"
]
MAX_DOCUMENTS: Final = 10_000
"""Documents of one kind."""
MAX_DOCUMENT_BYTES: Final = 64 * 1024
"""The JSON of a document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document under its kind and name; its JSON is stored as it was checked.

    `name` has the parts of its address with `/` between: `digits/3`.
    """

    kind: DocumentKind
    name: str
    content: bytes
    blob: BlobRef | None = None
    created: Timestamp | None = field(default=None, compare=False)
    changed: Timestamp | None = field(default=None, compare=False)


class DocumentRecords(Protocol):
    """Documents; unlike all other records they may be changed and deleted."""

    def document(self, kind: DocumentKind, name: str) -> StoredDocument | None:
        """Read a document."""

    def documents(
        self, kind: DocumentKind, limit: int, prefix: str = "", after: str = ""
    ) -> Sequence[StoredDocument]:
        """Read at most `limit` documents of a kind, by name.

        Their names begin with `prefix`, and come behind `after`.
        """

    def count_documents(self, kind: DocumentKind) -> int:
        """Return the number of documents of a kind."""

    def put_document(self, document: StoredDocument) -> None:
        """Write a document in place of the one of its kind and name, if there is one.

        From now on its blob is referenced, and that of the replaced one no longer.
        """

    def delete_document(self, kind: DocumentKind, name: str) -> None:
        """Delete a document, if there is one; its blob is referenced no longer."""


class DocumentStore(Protocol):
    """The part of a `Store` that concerns documents."""

    def document(self, kind: DocumentKind, name: str) -> StoredDocument | None:
        """Return a document; None: there is none of this name."""

    def documents(
        self, kind: DocumentKind, limit: int, prefix: str = "", after: str = ""
    ) -> Sequence[StoredDocument]:
        """Return at most `limit` documents of a kind, by name.

        Their names begin with `prefix`, and come behind `after`.
        """

    def create_document(self, kind: DocumentKind, name: str, content: bytes) -> bool | None:
        """Store a new document; False: there is one of this name; None: there are too many."""

    def change_document(self, kind: DocumentKind, name: str, content: bytes) -> bool:
        """Replace the JSON of a document; False: there is none of this name."""

    def attach_file(self, kind: DocumentKind, name: str, blob: BlobRef) -> bool:
        """Replace the file of a document by a kept blob; False: there is no such document.

        The blob of the replaced file is deleted unless something else references it.
        """

    def delete_document(self, kind: DocumentKind, name: str) -> bool:
        """Delete a document, and its file unless something else references that."""
