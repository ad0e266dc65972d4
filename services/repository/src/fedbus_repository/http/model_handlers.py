"""Handlers for models: versions, their metadata, their weights and files. ASSIST-IoT's paths.

A version begins as a draft: its metadata is stored, then its weights and files arrive in one form,
and the store inserts it as it inserts a push. Work on the store is done in threads.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from fedbus.errors import StoreDamagedError, WireError
from fedbus.http_api.blob_responses import BlobDownload
from fedbus.http_api.request_bodies import read_body
from fedbus.http_api.request_parameters import (
    read_name,
    read_query_choice,
    read_query_name,
    read_query_number,
)
from fedbus.http_api.responses import ApiError, json_response
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.runtime.shell import Shell
from fedbus.wire import codec
from fedbus.wire.json_reader import read_json
from fedbus.wire.spec_files import named_files
from fedbus.wire.version_choice import parse_version_choice
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.http.document_handlers import too_many
from fedbus_repository.http.pages import read_flag, read_page
from fedbus_repository.http.received_files import UploadPlaces
from fedbus_repository.http.received_versions import received_version
from fedbus_repository.http.refusals import accepted
from fedbus_repository.http.schemas import ModelUpload, VersionReport
from fedbus_repository.http.uploaded_versions import UploadedVersion, missing_files, spec_of
from fedbus_repository.http.version_reports import (
    available_files,
    draft_name,
    draft_report,
    read_draft,
    version_report,
)
from fedbus_repository.http.weight_downloads import WEIGHT_FORMATS, WeightDownloads
from fedbus_repository.keys import StoredOverHttp
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.document_records import MAX_DOCUMENT_BYTES, StoredDocument
from fedbus_repository.stores.records import ModelView, Version

SHELL_PREFIX = "model_"


@dataclass(frozen=True, slots=True)
class ModelHandlers:
    """The handlers of models."""

    store: Store
    specs: SpecReader
    downloads: WeightDownloads
    places: UploadPlaces
    shell: Shell

    async def create(self, request: web.Request) -> web.Response:
        """Store the draft of a new version; 400 if there is one of this number."""
        body = await read_body(request, MAX_SPEC_BYTES)
        report = await asyncio.to_thread(self._create, body)
        return json_response(report, 201)

    def _create(self, body: bytes) -> VersionReport:
        upload = codec.from_foreign_json(ModelUpload, _with_model_name(body))
        spec_of(upload)
        model, next_number = upload.model_name, self._next_number(upload.model_name)
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
        return self._draft_report(model, number)

    def _next_number(self, model: str) -> int:
        found = self.store.show(model, None, 0)
        return found.versions + 1 if isinstance(found, ModelView) else 1

    def _draft(self, model: str, number: str) -> StoredDocument | None:
        """Return the draft of a version; None once that version exists, made by whatever program.

        Such a draft is left where a job or a push made the version of its number meanwhile, or
        where the process was killed between the insertion and the deletion of the draft.
        """
        found = self.store.document("model-draft", draft_name(model, number))
        return found if found is not None and self._is_awaited(found) else None

    def _is_awaited(self, draft: StoredDocument) -> bool:
        model, _, number = draft.name.partition("/")
        return int(number) >= self._next_number(model)

    def _draft_report(self, model: str, number: str) -> VersionReport:
        found = self._draft(model, number)
        if found is None:
            raise ApiError(404, f"there is no model {model} of version {number}")
        upload = read_draft(found)
        return draft_report(found, upload, number, missing_files(self.store, spec_of(upload)))

    async def upload(self, request: web.Request) -> web.Response:
        """Store the weights and files of a draft: from then on it is a version."""
        model, number = read_name(request, "name"), read_name(request, "version")
        reset = read_flag(request, "reset")
        found = await asyncio.to_thread(
            self.store.document, "model-draft", draft_name(model, number)
        )
        if found is None:
            raise ApiError(404, f"there is no draft {model} {number}; POST /model creates one")
        upload = read_draft(found)
        with self.places.place():
            async with received_version(request, self.store, spec_of(upload)) as uploaded:
                made = await asyncio.to_thread(self._insert, uploaded, number, reset)
        self.shell.receive_local(StoredOverHttp(made))
        meta = json.dumps(upload.meta).encode()
        await asyncio.to_thread(self._finish_draft, model, number, meta)
        return web.Response(status=204, headers={"ETag": f'"{made.weights.digest}"'})

    def _insert(self, uploaded: UploadedVersion, number: str, reset: bool) -> Version:  # noqa: FBT001 - called in a thread
        model = uploaded.spec.model
        next_number = self._next_number(model)
        if number != str(next_number) and not self._is_stored(uploaded, number):
            raise ApiError(
                409,
                f"model {model} has other versions by now; the next is {next_number}, and POST"
                " /model creates its draft",
            )
        made = uploaded.store(self.store, self.specs, reset=reset)
        if str(made.version) != number:
            raise ApiError(409, f"this is stored as version {made.version} of model {model}")
        return made

    def _is_stored(self, uploaded: UploadedVersion, number: str) -> bool:
        """Return whether an earlier upload of the same has become the latest version."""
        found = self.store.show(uploaded.spec.model, int(number), 0)
        if not isinstance(found, ModelView) or found.version.version != found.versions:
            return False
        return uploaded.is_content_of(found.version)

    def _finish_draft(self, model: str, number: str, meta: bytes) -> None:
        name = draft_name(model, number)
        if meta != b"{}":
            self._put_meta(name, meta)
        self.store.delete_document("model-draft", name)

    def _put_meta(self, name: str, meta: bytes) -> None:
        """Store the `meta` of a version; raise ApiError 507 if there are too many."""
        if self.store.change_document("model-meta", name, meta):
            return
        if self.store.create_document("model-meta", name, meta) is None:
            raise too_many("model-meta", "the version is stored without it")

    async def change_meta(self, request: web.Request) -> web.Response:
        """Replace the `meta` of a version or a draft."""
        body = await read_body(request, MAX_DOCUMENT_BYTES)
        tree = read_json(body)
        if not isinstance(tree, dict):
            raise ApiError(400, "expected a JSON object")
        model, number = read_name(request, "name"), read_name(request, "version")
        await asyncio.to_thread(self._change_meta, model, number, tree.get("meta", tree))
        return web.Response(status=204)

    def _change_meta(self, model: str, number: str, meta: object) -> None:
        if not isinstance(meta, dict):
            raise ApiError(400, "meta: expected a JSON object")
        found = self._draft(model, number)
        if found is not None:
            content = json.dumps({**json.loads(found.content), "meta": meta}).encode()
            self.store.change_document("model-draft", found.name, content)
            return
        name = draft_name(model, str(self._view(model, number).version.version))
        self._put_meta(name, json.dumps(meta).encode())

    async def list_all(self, request: web.Request) -> web.Response:
        """Return the latest version and the drafts of each model, or the versions of one."""
        page, trained = read_page(request), read_flag(request, "trained")
        model = read_query_name(request, "model")
        if model is not None:
            read_query_number(request, "after")  # of a model's versions it is one of them
        found = await asyncio.to_thread(self._list_all, model, page.limit, page.after, trained)
        return web.json_response([codec.to_plain(each) for each in found])

    def _list_all(
        self,
        model: str | None,
        limit: int,
        after: str,
        trained: bool,  # noqa: FBT001 - in a thread
    ) -> list[VersionReport]:
        if model is not None:
            before = int(after) if after.isdigit() else None
            versions = accepted(self.store.show(model, None, limit, before)).history
            drafts = []
        else:
            every = [each for each in self.store.latest() if each.model > after]
            versions = tuple(every[:limit])
            stored = () if after else self.store.documents("model-draft", limit)
            drafts = list(filter(self._is_awaited, stored))
        reports = [
            version_report(self.store, each)
            for each in versions
            if not trained or each.job is not None
        ]
        for draft in [] if trained else drafts:
            number = draft.name.partition("/")[2]
            reports.append(draft_report(draft, read_draft(draft), number, ()))
        return reports

    async def show_meta(self, request: web.Request) -> web.Response:
        """Return what is known of one version: by `model_name` and `model_version`."""
        model = request.match_info.get("name") or request.query.get("model_name")
        if model is None:
            return await self.list_all(request)
        number = request.match_info.get("version") or request.query.get("model_version", "latest")
        return json_response(await asyncio.to_thread(self._show_meta, model, number))

    def _show_meta(self, model: str, number: str) -> VersionReport:
        _check_choice(model, number)
        if self._draft(model, number) is not None:
            return self._draft_report(model, number)
        version = self._view(model, number).version
        return version_report(self.store, version, self.specs.read(version.spec))

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Return the weights of a version, in the encoding `plain` or as a file of arrays."""
        form = read_query_choice(request, "format", WEIGHT_FORMATS)
        model, number = request.match_info["name"], request.match_info["version"]
        version = (await asyncio.to_thread(self._view, model, number)).version
        download = await asyncio.to_thread(self.downloads.download, version, form)
        return await download.send(request)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a draft, or the weights of a version that nothing needs; its record stays."""
        model, number = request.match_info["name"], request.match_info["version"]
        await asyncio.to_thread(self._delete, model, number)
        return web.Response(status=204)

    def _delete(self, model: str, number: str) -> None:
        _check_choice(model, number)
        awaited = self._draft(model, number) is not None
        if self.store.delete_document("model-draft", draft_name(model, number)):
            if awaited:
                return
            raise ApiError(
                409,
                f"version {number} of model {model} exists by now; its draft is deleted, and"
                " another DELETE deletes the weights of the version",
            )
        version = self._view(model, number).version
        if not version.kept:
            raise ApiError(404, f"the weights of {model} version {version.version} are deleted")
        accepted(self.store.delete_weights(model, version.version))

    async def available(self, request: web.Request) -> web.Response:
        """Return the files of versions whose weights can be fetched, by their date."""
        page = read_page(request)
        found = await asyncio.to_thread(available_files, self.store, page.limit, page.after)
        return web.json_response([codec.to_plain(each) for each in found])

    async def architecture(self, request: web.Request) -> web.StreamResponse:
        """Return the file of a version's architecture, such as a `.tflite` file."""
        given = request.match_info["file"]
        model, _, number = given.removeprefix(SHELL_PREFIX).rpartition("_")
        if not given.startswith(SHELL_PREFIX) or not model:
            raise ApiError(400, f"expected {SHELL_PREFIX}NAME_VERSION, got {given[:80]!r}")
        digest, name = await asyncio.to_thread(
            self._architecture, model, number, request.query.get("architecture")
        )
        return await self._send(request, digest, name)

    def _architecture(self, model: str, number: str, wanted: str | None) -> tuple[str, str]:
        version = self._view(model, number).version
        spec = self.specs.read(version.spec)
        files = {
            name: named_files([(name, architecture)])[0].digest
            for name, architecture in spec.architectures.items()
            if "blob" in architecture
        }
        if wanted is None and len(files) == 1:
            (wanted,) = files
        if wanted not in files:
            there = ", ".join(sorted(files)) or "none; GET /model/meta has the spec"
            raise ApiError(404, f"?architecture=: model {model} has files for: {there}")
        return files[wanted], f"{model}-{version.version}.{wanted}"

    def _view(self, model: str, number: str) -> ModelView:
        choice = _check_choice(model, number)
        return accepted(self.store.show(model, choice[0], 0, name=choice[1]))

    async def _send(self, request: web.Request, digest: str, filename: str) -> web.StreamResponse:
        source = await asyncio.to_thread(self.store.open_blob, digest)
        if source is None:
            raise StoreDamagedError(
                f"blob {digest[:12]} is missing from the store; restore it from a backup"
            )
        return await BlobDownload(source, digest, filename).send(request)


def _check_choice(model: str, number: str) -> tuple[int | None, str | None]:
    """Return a version's number or name, both None for the latest; raise ApiError 400."""
    try:
        choice = parse_version_choice(f"{model}@{number}")
    except WireError as error:
        raise ApiError(400, str(error)) from error
    return choice.version, choice.name


def _with_model_name(body: bytes) -> bytes:
    """Return an upload whose model is named `model_name`, as in ASSIST-IoT, or `model`."""
    tree: Any = read_json(body)
    if isinstance(tree, dict) and "model_name" not in tree and "model" in tree:
        tree = {"model_name": tree["model"]} | {k: v for k, v in tree.items() if k != "model"}
    return json.dumps(tree).encode()
