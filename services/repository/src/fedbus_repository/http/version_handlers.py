"""Handlers of versions: listed, described, and deleted. ASSIST-IoT's paths."""

import asyncio
import json
from dataclasses import dataclass

from aiohttp import web

from fedbus.http_api.request_bodies import read_body
from fedbus.http_api.request_parameters import read_name, read_query_name, read_query_number
from fedbus.http_api.responses import ApiError, json_response
from fedbus.wire import codec
from fedbus.wire.json_reader import read_json
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.http.found_versions import check_choice, find_version
from fedbus_repository.http.pages import read_flag, read_page
from fedbus_repository.http.refusals import accepted
from fedbus_repository.http.schemas import VersionReport
from fedbus_repository.http.version_drafts import VersionDrafts
from fedbus_repository.http.version_reports import (
    available_files,
    draft_name,
    draft_report,
    read_draft,
    version_report,
)
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.document_records import MAX_DOCUMENT_BYTES


@dataclass(frozen=True, slots=True)
class VersionHandlers:
    """The handlers of versions, and of the drafts that stand beside them."""

    store: Store
    specs: SpecReader
    drafts: VersionDrafts

    async def change_meta(self, request: web.Request) -> web.Response:
        """Replace the `meta` of a version or a draft: the body, or its only key `meta`."""
        body = await read_body(request, MAX_DOCUMENT_BYTES)
        tree = read_json(body)
        if not isinstance(tree, dict):
            raise ApiError(400, "expected a JSON object")
        if "meta" in tree and (others := sorted(tree.keys() - {"meta"})):
            raise ApiError(
                400, f"{others[0]:.80}: not stored beside `meta`; move it into `meta`, or omit it"
            )
        model, number = read_name(request, "name"), read_name(request, "version")
        await asyncio.to_thread(self._change_meta, model, number, tree.get("meta", tree))
        return web.Response(status=204)

    def _change_meta(self, model: str, number: str, meta: object) -> None:
        if not isinstance(meta, dict):
            raise ApiError(400, "meta: expected a JSON object")
        draft = self.drafts.find(model, number)
        if draft is not None:
            self.drafts.change_meta(draft, meta)
            return
        version = find_version(self.store, model, number).version
        self.drafts.put_meta(draft_name(model, str(version)), json.dumps(meta).encode())

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
            drafts = [] if after else self.drafts.listed(limit)
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
        check_choice(model, number)
        if self.drafts.find(model, number) is not None:
            return self.drafts.report(model, number)
        version = find_version(self.store, model, number)
        return version_report(self.store, version, self.specs.read(version.spec))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a draft, or the weights of a version that nothing needs; its record stays."""
        model, number = request.match_info["name"], request.match_info["version"]
        await asyncio.to_thread(self._delete, model, number)
        return web.Response(status=204)

    def _delete(self, model: str, number: str) -> None:
        check_choice(model, number)
        if self.drafts.delete(model, number):
            return
        version = find_version(self.store, model, number)
        if not version.kept:
            raise ApiError(404, f"the weights of {model} version {version.version} are deleted")
        accepted(self.store.delete_weights(model, version.version))

    async def available(self, request: web.Request) -> web.Response:
        """Return the files of versions whose weights can be fetched, by their date."""
        page = read_page(request)
        found = await asyncio.to_thread(available_files, self.store, page.limit, page.after)
        return web.json_response([codec.to_plain(each) for each in found])
