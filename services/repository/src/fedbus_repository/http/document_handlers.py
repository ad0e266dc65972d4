"""Handlers for documents of other programs: strategies, transformations, collectors. ASSIST-IoT's.

Each has metadata and a file. The file is stored and served, and never loaded, unpickled or executed
by fedbus.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from fedbus.errors import StoreDamagedError
from fedbus.http_api.blob_responses import BlobDownload
from fedbus.http_api.json_documents import read_document
from fedbus.http_api.request_bodies import read_body
from fedbus.http_api.request_parameters import read_name
from fedbus.http_api.responses import ApiError
from fedbus.wire import codec
from fedbus.wire.json_reader import read_json
from fedbus_repository.http.pages import read_page
from fedbus_repository.http.received_files import UploadPlaces, receive_file
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.document_records import (
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENTS,
    DocumentKind,
    StoredDocument,
)

_OF_THE_STORE: Final = ("file_size", "created", "changed")
"""What an answer says beside the document and its file: a client may send it back, unread."""


def too_many(kind: DocumentKind, consequence: str = "") -> ApiError:
    """Return the refusal of one more document."""
    said = f"there are {MAX_DOCUMENTS} documents of the kind {kind}; delete some"
    return ApiError(507, f"{said}; {consequence}" if consequence else said)


@dataclass(frozen=True, slots=True)
class DocumentHandlers:
    """The handlers of one kind of documents.

    Attributes:
        kind: Their kind in the store.
        schema: What a document consists of.
        keys: The fields that together name one, as they stand in the path.
        file_key: The field that has the digest of the file, as ASSIST-IoT calls it.
    """

    store: Store
    places: UploadPlaces
    kind: DocumentKind
    schema: type[Any]
    keys: tuple[str, ...]
    file_key: str

    async def create(self, request: web.Request) -> web.Response:
        """Store a new document; 400 if there is one of this name."""
        return await self.store_new(await read_body(request, MAX_DOCUMENT_BYTES))

    async def store_new(self, body: bytes) -> web.Response:
        """Store the document of a body; 400 if there is one of this name."""
        name, content = self._read(body)
        stored = await asyncio.to_thread(self.store.create_document, self.kind, name, content)
        if stored is None:
            raise too_many(self.kind)
        if not stored:
            raise ApiError(
                400, f"{self.kind} {name} is stored already; PUT changes it, DELETE removes it"
            )
        return web.json_response(await self._described(name), status=201)

    async def list_all(self, request: web.Request) -> web.Response:
        """Return a page of documents, by name."""
        page = read_page(request)
        found = await asyncio.to_thread(self.store.documents, self.kind, page.limit, "", page.after)
        return web.json_response([self.describe(each) for each in found])

    async def show(self, request: web.Request) -> web.Response:
        """Return a document without its file."""
        return web.json_response(await self._described(self.name(request)))

    async def change(self, request: web.Request) -> web.Response:
        """Replace the metadata of a document; its name stays."""
        name = self.name(request)
        stated = dict(zip(self.keys, name.split("/"), strict=True))
        body = await read_body(request, MAX_DOCUMENT_BYTES)
        tree = read_json(body)
        if not isinstance(tree, dict):
            raise ApiError(400, "expected a JSON object")
        for key, value in stated.items():
            if tree.setdefault(key, value) != value:
                raise ApiError(400, f"{key}: {tree[key]!r:.80} in the body, {value} in the path")
        _, content = self._read(json.dumps(tree).encode())
        if not await asyncio.to_thread(self.store.change_document, self.kind, name, content):
            raise self._missing(name)
        return web.Response(status=204)

    async def upload(self, request: web.Request) -> web.Response:
        """Store the file of a document, in place of an earlier one."""
        name = self.name(request)
        if await asyncio.to_thread(self.store.document, self.kind, name) is None:
            raise self._missing(name)
        blob = await receive_file(request, self.store, self.places)
        if not await asyncio.to_thread(self.store.attach_file, self.kind, name, blob):
            await asyncio.to_thread(self.store.delete_unreferenced, (blob,))
            raise self._missing(name)
        return web.Response(status=204, headers={"ETag": f'"{blob.digest}"'})

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Return the file of a document."""
        name = self.name(request)
        found = await self._found(name)
        if found.blob is None:
            raise ApiError(404, f"{self.kind} {name} has no file yet; PUT uploads one")
        source = await asyncio.to_thread(self.store.open_blob, found.blob.digest)
        if source is None:
            raise StoreDamagedError(
                f"the file of {self.kind} {name} is missing from the store; upload it again"
            )
        filename = f"{self.kind}-{name.replace('/', '-')}"
        return await BlobDownload(source, found.blob.digest, filename).send(request)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a document and its file."""
        name = self.name(request)
        if not await asyncio.to_thread(self.store.delete_document, self.kind, name):
            raise self._missing(name)
        return web.Response(status=204)

    def name(self, request: web.Request) -> str:
        """Return the document's name from the path; raise ApiError 400 if it is not valid."""
        return "/".join(read_name(request, key) for key in self.keys)

    def describe(self, document: StoredDocument) -> dict[str, Any]:
        """Return a document as JSON, with the digest and size of its file, and its times."""
        blob = document.blob
        return {
            **json.loads(document.content),
            self.file_key: None if blob is None else blob.digest,
            "file_size": None if blob is None else blob.size,
            "created": document.created,
            "changed": document.changed,
        }

    async def _described(self, name: str) -> dict[str, Any]:
        return self.describe(await self._found(name))

    async def _found(self, name: str) -> StoredDocument:
        found = await asyncio.to_thread(self.store.document, self.kind, name)
        if found is None:
            raise self._missing(name)
        return found

    def _missing(self, name: str) -> ApiError:
        return ApiError(404, f"there is no {self.kind} {name}")

    def _read(self, body: bytes) -> tuple[str, bytes]:
        read = read_document(self.schema, body, (self.file_key, *_OF_THE_STORE))
        return "/".join(getattr(read, key) for key in self.keys), codec.to_json(read)
