"""Handlers of configurations: job files without an id, which the repository stores."""

import json
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from fedbus.http_api.request_bodies import read_body
from fedbus.http_api.request_parameters import read_name, read_query_name, read_query_number
from fedbus.http_api.responses import ApiError, json_response
from fedbus.jobs import configuration_of, schema
from fedbus.limits import MAX_JOB_FILE_BYTES
from fedbus.wire import codec
from fedbus.wire.messages import (
    Configuration,
    ConfigurationShown,
    ConfigurationsListed,
    ConfigurationStored,
    ListConfigurations,
    ShowConfiguration,
    StoreConfiguration,
)
from fedbus_controller.http.awaited_answers import AwaitedAnswers
from fedbus_controller.http.schemas import (
    ConfigurationQuestion,
    ConfigurationReport,
    ModelQuestion,
)

MAX_QUESTION_BYTES: Final = 64 * 1024
MAX_LISTED_CONFIGURATIONS: Final = 100


@dataclass(frozen=True, slots=True)
class ConfigurationHandlers:
    """The handlers of configurations."""

    answers: AwaitedAnswers

    async def store(self, request: web.Request) -> web.Response:
        """Store a configuration; 200 if an equal one is stored."""
        body = await read_body(request, MAX_JOB_FILE_BYTES)
        configuration_of(body)  # raises JobFileError for what is not JSON
        stored = await self.answers.ask(StoreConfiguration(file=body), ConfigurationStored)
        report = _configuration_report(stored.configuration)
        return json_response(report, 200 if stored.known else 201)

    async def list_all(self, request: web.Request) -> web.Response:
        """Return configurations, of one model or of all, the newest first."""
        in_path = "model_name" in request.match_info
        model = read_name(request, "model_name") if in_path else read_query_name(request, "model")
        listed = await self._list(model, read_query_number(request, "before"))
        return web.json_response([codec.to_plain(each) for each in listed])

    async def defaults(self, _: web.Request) -> web.Response:
        """Return the default values of job files."""
        stated = {
            key: described["default"]
            for key, described in schema()["properties"].items()
            if "default" in described
        }
        return web.json_response(_without_nulls(stated))

    async def show(self, request: web.Request) -> web.Response:
        """Return a configuration by its id."""
        return await self._configuration(read_name(request, "configuration_id"))

    async def show_asked(self, request: web.Request) -> web.Response:
        """Return the configuration whose id is in the body."""
        body = await read_body(request, MAX_QUESTION_BYTES)
        asked = codec.from_foreign_json(ConfigurationQuestion, body)
        return await self._configuration(asked.configurationId)

    async def show_newest(self, request: web.Request) -> web.Response:
        """Return the newest configuration of the model in the body."""
        body = await read_body(request, MAX_QUESTION_BYTES)
        model = codec.from_foreign_json(ModelQuestion, body).model_name
        listed = await self._list(model, None)
        if not listed:
            raise ApiError(404, f"model {model} has no configuration")
        return await self._configuration(listed[0].configuration_id)

    async def _configuration(self, name: str) -> web.Response:
        shown = await self.answers.ask(ShowConfiguration(configuration=name), ConfigurationShown)
        return json_response(_configuration_report(shown.configuration, shown.file))

    async def _list(self, model: str | None, before: int | None) -> list[ConfigurationReport]:
        question = ListConfigurations(model=model, limit=MAX_LISTED_CONFIGURATIONS, before=before)
        listed = await self.answers.ask(question, ConfigurationsListed)
        return [_configuration_report(each) for each in listed.configurations]


def _without_nulls(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a tree without keys that are null, and without parts that have no others."""
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        found = _without_nulls(value) if isinstance(value, dict) else value
        if found is not None and (found or found == value):
            kept[key] = found
    return kept


def _configuration_report(
    configuration: Configuration, file: bytes | None = None
) -> ConfigurationReport:
    return ConfigurationReport(
        configuration_id=configuration.configuration,
        model_name=configuration.model,
        number=configuration.number,
        stored=configuration.at,
        configuration=None if file is None else json.loads(file),
    )
