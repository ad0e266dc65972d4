"""Handlers for results of trainings: those that other programs store here. ASSIST-IoT's paths."""

import asyncio
import json

from aiohttp import web

from fedbus.http_api.request_bodies import read_name
from fedbus.http_api.responses import ApiError
from fedbus_repository.http.document_handlers import DocumentHandlers
from fedbus_repository.http.pages import read_page


class ResultHandlers(DocumentHandlers):
    """The handlers of results, each named by model, version and training."""

    async def of_version(self, request: web.Request) -> web.Response:
        """Return the results of the trainings of one version."""
        page = read_page(request)
        parts = [read_name(request, key) for key in self.keys[:2]]
        found = await asyncio.to_thread(
            self.store.documents, self.kind, page.limit, "/".join((*parts, "")), page.after
        )
        return web.json_response([self.describe(each) for each in found])

    async def upload_weights(self, request: web.Request) -> web.Response:
        """Store the weights of a result; the configuration must be that of the result."""
        name, configuration = self.name(request), request.match_info["configuration_id"]
        found = await asyncio.to_thread(self.store.document, self.kind, name)
        if found is not None:
            stated = json.loads(found.content)["configuration_id"]
            if stated is not None and stated != configuration:
                raise ApiError(
                    404, f"result {name} has the configuration {stated}, not {configuration:.80}"
                )
        return await self.upload(request)
