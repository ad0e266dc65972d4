"""Handlers of drafts: a new version is created, then uploaded. ASSIST-IoT's paths."""

import asyncio
import json
from dataclasses import dataclass

from aiohttp import web

from fedbus.http_api.request_bodies import read_body
from fedbus.http_api.request_parameters import read_name
from fedbus.http_api.responses import ApiError, json_response
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.runtime.shell import Shell
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.http.pages import read_flag
from fedbus_repository.http.received_files import UploadPlaces
from fedbus_repository.http.received_versions import received_version
from fedbus_repository.http.uploaded_versions import UploadedVersion, spec_of
from fedbus_repository.http.version_drafts import VersionDrafts
from fedbus_repository.http.version_reports import draft_name, read_draft
from fedbus_repository.keys import StoredOverHttp
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.records import ModelView, Version


@dataclass(frozen=True, slots=True)
class DraftHandlers:
    """The handlers of drafts."""

    store: Store
    specs: SpecReader
    drafts: VersionDrafts
    places: UploadPlaces
    shell: Shell

    async def create(self, request: web.Request) -> web.Response:
        """Store the draft of a new version; 400 if there is one of this number."""
        body = await read_body(request, MAX_SPEC_BYTES)
        report = await asyncio.to_thread(self.drafts.create, body)
        return json_response(report, 201)

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
        await asyncio.to_thread(self.drafts.finish, model, number, meta)
        return web.Response(status=204, headers={"ETag": f'"{made.weights.digest}"'})

    def _insert(self, uploaded: UploadedVersion, number: str, reset: bool) -> Version:  # noqa: FBT001 - called in a thread
        model = uploaded.spec.model
        next_number = self.drafts.next_number(model)
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
