"""Handlers for results of trainings: of jobs, and what other programs store. ASSIST-IoT's paths.

The result of a job is read from its records, in the form that users may read; it cannot be stored,
changed or deleted here.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from fedbus.http_api.request_bodies import read_body
from fedbus.http_api.request_parameters import MAX_QUERY_DIGITS, read_name, read_query_choice
from fedbus.http_api.responses import ApiError
from fedbus.http_api.result_reports import results_of
from fedbus.wire import codec
from fedbus_repository.handlers.job_records import job_result
from fedbus_repository.http.document_handlers import DocumentHandlers
from fedbus_repository.http.pages import ListPage, read_page
from fedbus_repository.http.weight_downloads import WEIGHT_FORMATS, WeightDownloads
from fedbus_repository.stores.damaged_records import DamagedRecordError
from fedbus_repository.stores.document_records import MAX_DOCUMENT_BYTES
from fedbus_repository.stores.records import JobFacts, ModelView, StoreRefusal


@dataclass(frozen=True, slots=True)
class ResultHandlers(DocumentHandlers):
    """The handlers of results, each named by model, version and training.

    Attributes:
        downloads: Makes downloads of the versions that jobs have made.
    """

    downloads: WeightDownloads

    async def create(self, request: web.Request) -> web.Response:
        """Store a result; 400 if there is one, or a job of this id."""
        body = await read_body(request, MAX_DOCUMENT_BYTES)
        job = codec.from_foreign_json(self.schema, body).training_id  # store_new reads all of it
        if await asyncio.to_thread(self._facts, job) is not None:
            raise ApiError(400, f"training_id: job {job} has a result of its own")
        return await self.store_new(body)

    async def list_all(self, request: web.Request) -> web.Response:
        """Return a page: stored results by name, then those of jobs, of each model newest first."""
        return web.json_response(await asyncio.to_thread(self._page, read_page(request)))

    async def of_version(self, request: web.Request) -> web.Response:
        """Return a page of the results of the trainings of one version, a job's at the end."""
        model, version = (read_name(request, key) for key in self.keys[:2])
        page = read_page(request)
        return web.json_response(await asyncio.to_thread(self._page_of, page, model, version))

    async def show(self, request: web.Request) -> web.Response:
        """Return a result without its weights."""
        job = await self._job_of(request)
        if job is None:
            return await DocumentHandlers.show(self, request)
        return web.json_response(self._described_job(job))

    async def upload_weights(self, request: web.Request) -> web.Response:
        """Store the weights of a result; the configuration must be that of the result."""
        await self._refuse_job(request)
        name, configuration = self.name(request), request.match_info["configuration_id"]
        found = await asyncio.to_thread(self.store.document, self.kind, name)
        if found is not None:
            stated = json.loads(found.content)["configuration_id"]
            if stated is not None and stated != configuration:
                raise ApiError(
                    404, f"result {name} has the configuration {stated}, not {configuration:.80}"
                )
        return await self.upload(request)

    async def change(self, request: web.Request) -> web.Response:
        """Replace a result; that of a job does not change."""
        await self._refuse_job(request)
        return await DocumentHandlers.change(self, request)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a result and its weights; that of a job is a record, which stays."""
        await self._refuse_job(request)
        return await DocumentHandlers.delete(self, request)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Return the weights of a result: of a job, those of the version that it made.

        Those of another program are a file that is never read here, so they have one format.
        """
        form = read_query_choice(request, "format", WEIGHT_FORMATS)
        job = await self._job_of(request)
        if job is not None:
            assert job.last is not None  # noqa: S101 - `_job_of` compares its number
            download = await asyncio.to_thread(self.downloads.download, job.last, form)
            return await download.send(request)
        if form != "plain" and await self._found(self.name(request)):
            raise ApiError(
                409,
                "another program has stored these weights; without `format` its file is sent as"
                " it is",
            )
        return await DocumentHandlers.download(self, request)

    async def _refuse_job(self, request: web.Request) -> None:
        if await self._job_of(request) is not None:
            job = request.match_info["training_id"]
            raise ApiError(409, f"this is the result of job {job}, which is a record and stays")

    async def _job_of(self, request: web.Request) -> JobFacts | None:
        """Return the job that a request names with its model and the version that it made last."""
        model, version, job = (read_name(request, key) for key in self.keys)
        facts = await asyncio.to_thread(self._facts, job)
        if facts is None or facts.last is None:
            return None
        named = (facts.job.model, str(facts.last.version)) == (model, version)
        return facts if named else None

    def _facts(self, job: str) -> JobFacts | None:
        found = self.store.job_facts(job)
        return None if isinstance(found, StoreRefusal) else found

    def _page(self, page: ListPage) -> list[dict[str, Any]]:
        last = self._job_at(page.after)
        model, job = ("", None) if last is None else (last.job.model, last.job.job)
        found = self._stored(page, "") if last is None else []
        for each in self.store.latest_or_damage():
            left = page.limit - len(found)
            if left and each >= model:
                before = job if each == model else None
                with suppress(DamagedRecordError):  # results of other models are listed
                    found += self._of_model(each, left, before)
        return found

    def _page_of(self, page: ListPage, model: str, version: str) -> list[dict[str, Any]]:
        if self._job_at(page.after):
            return []
        found = self._stored(page, f"{model}/{version}/")
        return found + self._of_version(model, version)[: page.limit - len(found)]

    def _stored(self, page: ListPage, prefix: str) -> list[dict[str, Any]]:
        found = self.store.documents(self.kind, page.limit, prefix, page.after)
        return [self.describe(each) for each in found]

    def _job_at(self, name: str) -> JobFacts | None:
        """Return the job whose result has this name; None: it is one that was stored, or none.

        The version of a job grows while it runs, and it has none before its first round, so the
        name's version counts only where a result was stored under this name.
        """
        model, _, rest = name.partition("/")
        version, _, job = rest.partition("/")
        facts = self._facts(job) if job else None
        if facts is None or facts.job.model != model:
            return None
        if facts.last is not None and str(facts.last.version) == version:
            return facts
        return None if self.store.document(self.kind, name) is not None else facts

    def _of_model(self, model: str, limit: int, before: str | None) -> list[dict[str, Any]]:
        found = self.store.jobs_of_model(model, limit, before)
        return [] if isinstance(found, StoreRefusal) else list(map(self._described_job, found))

    def _of_version(self, model: str, version: str) -> list[dict[str, Any]]:
        """Return the result of the job whose last version this is, if it is one."""
        if not (version.isascii() and version.isdigit() and len(version) <= MAX_QUERY_DIGITS):
            return []
        view = self.store.show(model, int(version), 0)
        job = view.version.job if isinstance(view, ModelView) else None
        facts = None if job is None else self._facts(job)
        if facts is None or facts.last is None or str(facts.last.version) != version:
            return []
        return [self._described_job(facts)]

    def _described_job(self, facts: JobFacts) -> dict[str, Any]:
        result, last = job_result(facts), facts.last
        return {
            "model_name": result.model,
            "model_version": None if last is None else str(last.version),
            "training_id": result.job,
            "configuration_id": result.configuration,
            "results": results_of(result),
            self.file_key: None if last is None else last.weights.digest,
            "file_size": None if last is None else last.weights.size,
            "created": result.submitted,
            "changed": result.ended or (None if last is None else last.at),
        }
