"""The controller's endpoint table, and its handlers where no repository answers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from fedbus.http_api.openapi import document
from fedbus.http_api.scopes import SCOPES
from fedbus.http_api.token_file import change_tokens
from fedbus.http_api.tokens import HttpToken, token_of
from fedbus.jobs import parse
from fedbus.runtime.http import make_app
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.settings import settings_from
from fedbus.runtime.shell import Shell
from fedbus_controller.app import ControllerSettings, build
from fedbus_controller.http import awaited_answers
from fedbus_controller.http.configuration_handlers import ConfigurationHandlers
from fedbus_controller.http.endpoints import ENDPOINTS, description
from fedbus_controller.http.handlers import ControllerHandlers
from fedbus_controller.http.job_handlers import JobHandlers
from fedbus_controller.http.refused_paths import NO_MEANING

TOKEN = token_of(b"t" * 32)
JOB = {"training_id": "job-1", "model_name": "digits", "num_rounds": 1}
PARTS = {"": ControllerHandlers, "jobs": JobHandlers, "configurations": ConfigurationHandlers}
READS_BY_POST = {"/showConfigurationModel", "/recoverTrainedConfiguration"}


def test_every_endpoint_has_a_handler_and_a_scope_for_what_it_does() -> None:
    """A scope to read never allows a change."""
    for endpoint in ENDPOINTS:
        if endpoint.public:
            continue
        part, _, method = endpoint.handler.rpartition(".")
        assert callable(getattr(PARTS[part], method)), endpoint.handler
        reads = endpoint.method == "GET" or endpoint.path in READS_BY_POST
        reads = reads or endpoint.path in NO_MEANING
        assert endpoint.scope == ("jobs:read" if reads else "jobs:write"), endpoint.path
    without = {each.path for each in ENDPOINTS if each.handler == "no_meaning"}
    assert without == set(NO_MEANING)


def test_the_description_refers_to_schemas_that_it_has() -> None:
    """And each operation has an id of its own."""
    described = document(description(), "1")
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described)))
    assert named <= set(described["components"]["schemas"])
    ids = [o["operationId"] for methods in described["paths"].values() for o in methods.values()]
    assert len(ids) == len(set(ids))


class ControllerService:
    """A controller without a broker, and its API."""

    def __init__(self, folder: Path) -> None:
        tokens = folder / "tokens"
        entry = HttpToken.of("all", SCOPES, TOKEN)
        change_tokens(tokens, lambda _: (entry,))
        environ = {"FEDBUS_HTTP_TOKENS_FILE": str(tokens)}
        identity = Identity(name="controller.1", incarnation=1)
        built = build(settings_from(environ, ControllerSettings), identity)
        self.shell = Shell(Node(identity, built.core, Random(1)), 1)
        assert built.http_api is not None
        self.server = TestServer(make_app(self.shell, built.http_api(self.shell)))

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any, Any]:  # noqa: ANN401 - aiohttp's
        """Send a request; return status, body and headers."""
        headers = {"Authorization": f"Bearer {TOKEN}", **more.pop("headers", {})}
        async with (
            ClientSession(headers=headers) as session,
            session.request(method, self.server.make_url(path), **more) as answer,
        ):
            return answer.status, await answer.json(), answer.headers


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ControllerService]:
    """Serve a controller that has no lease."""
    service = await asyncio.to_thread(ControllerService, tmp_path)
    async with service.server:
        yield service
        service.shell.close()


async def test_without_the_lease_another_controller_is_asked(service: ControllerService) -> None:
    """503 with a time; what needs no decision is answered."""
    for path, body in (("/job", JOB), ("/trainingModel", JOB), ("/job/config/job-1/", JOB)):
        status, answer, headers = await service.ask("POST", path, json=body)
        assert (status, headers["Retry-After"]) == (503, "10")
        assert answer["error"] == "this controller has no lease: another one leads"
    assert (await service.ask("GET", "/job/status"))[:2] == (200, [])
    status, answer, _ = await service.ask("GET", "/recoverStatusFromEnablers")
    assert answer["data"] == {
        "controller": "standby",
        "connected": False,
        "collectors": 0,
        "training agents": 0,
        "evaluating agents": 0,
    }
    assert (await service.ask("POST", "/job/stop"))[:2] == (200, {"stopped": []})
    status, answer, _ = await service.ask("DELETE", "/job/job-1")
    assert (status, answer["error"]) == (404, "no job job-1 runs here; running: none")


async def test_a_repository_that_does_not_answer_is_not_waited_for_without_end(
    service: ControllerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """504, and the question is not asked any more."""
    monkeypatch.setattr(awaited_answers, "ANSWER_SECONDS", 0.1)
    status, answer, headers = await service.ask("GET", "/job/file/job-1")
    assert (status, headers["Retry-After"]) == (504, "10")
    assert "no decision in 0.1 s" in answer["error"]
    assert (await service.ask("GET", "/configurations"))[0] == 504


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("POST", "/job/config/other", json.dumps(JOB), 400, "'job-1' in the file, other in the"),
        ("POST", "/job/config/-x", json.dumps(JOB), 400, "training_id: not 1 to 64 letters"),
        ("POST", "/job/config/x", "[]", 400, "expected a JSON object"),
        ("POST", "/trainingModel", "{bad", 400, "not JSON"),
        ("POST", "/trainingModel", '{"configuration_id": 3}', 400, "configuration_id"),
        (
            "POST",
            "/trainingModel",
            '{"configuration_id": "c", "num_rounds": 5}',
            400,
            "num_rounds: no such key",
        ),
        ("POST", "/job", " " * 300_000, 413, "300000 bytes, at most 262144"),
        ("POST", "/configurations", "{bad", 400, "not JSON"),
        ("POST", "/showConfigurationModel", "{}", 400, "ModelQuestion.model_name"),
        ("POST", "/recoverTrainedConfiguration", "{}", 400, "configurationId"),
        ("GET", "/configurations?before=x", None, 400, "before: expected a whole number"),
        ("GET", "/job/result/x?before=-1", None, 400, "before: expected a whole number"),
        ("GET", "/configurations?before=" + "9" * 20, None, 400, "before: expected a whole number"),
        ("GET", "/configurations?model=../x", None, 400, "model: not 1 to 64"),
        ("GET", "/configurationsbyModel/-x", None, 400, "model_name: not 1 to 64"),
        ("GET", "/job/results/digits?before=-x", None, 400, "before: not 1 to 64"),
        ("GET", "/job/status/-a", None, 400, "training_id: not 1 to 64"),
        ("GET", "/databases", None, 501, "GET /model"),
        ("POST", "/updateConfigurationModel", "{}", 501, "it never changes"),
        ("GET", "/nothing", None, 404, "no endpoint of this service"),
    ],
)
async def test_a_request_that_cannot_be_used_is_refused(
    *,
    service: ControllerService,
    method: str,
    path: str,
    body: str | None,
    status: int,
    sentence: str,
) -> None:
    """With the reason, before anything is asked."""
    found, answer, _ = await service.ask(method, path, data=body)
    assert (found, sentence in answer["error"]) == (status, True), answer


async def test_the_defaults_of_job_files_are_shown(service: ControllerService) -> None:
    """A file that states them means the same as one that leaves them out."""
    status, defaults, _ = await service.ask("GET", "/getPersistConfig")
    assert (status, defaults["optimizer_config"]) == (200, {"optimizer": "sgd"})
    assert (defaults["energy"], defaults["stopping_target"]) == (False, {})
    assert "null" not in json.dumps(defaults)
    assert parse(json.dumps({**defaults, **JOB}).encode()) == parse(json.dumps(JOB).encode())


async def test_the_key_of_a_request_has_a_length(service: ControllerService) -> None:
    """It becomes a part of the job's id."""
    for key in ("", "x" * 129):
        status, answer, _ = await service.ask(
            "POST", "/job", json=JOB, headers={"Idempotency-Key": key}
        )
        assert (status, "Idempotency-Key: expected 1 to 128" in answer["error"]) == (400, True)
