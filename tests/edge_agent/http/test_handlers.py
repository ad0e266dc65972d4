"""The agent's HTTP API: aerOS's paths, authentication, and the reason of each refusal."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

pytest.importorskip("aiohttp")

from aiohttp import ClientSession, FormData
from aiohttp.test_utils import TestServer

from fedbus import demo_data
from fedbus.errors import SettingsError
from fedbus.http_api import swagger_ui
from fedbus.http_api.token_file import change_tokens
from fedbus.http_api.tokens import HttpToken
from fedbus.runtime.http import make_app
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.settings import settings_from
from fedbus.runtime.shell import Shell
from fedbus_edge_agent.app import build
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.http.endpoints import ENDPOINTS
from fedbus_edge_agent.settings import AgentSettings
from tests.edge_agent.harness import CONTROLLER, train
from tests.edge_agent.training.test_local_trainer import FILE, learnable_data, needs_tflite

TOKEN = "0123456789abcdef"
OF_WORK = (
    *("fedbus_events", "fedbus_packets", "fedbus_bytes", "process_cpu_seconds"),
    "fedbus_http_requests",
)
"""Metrics that tell when an agent trains, in private jobs, too."""
JOB = {
    "training_id": "solo-1",
    "model_name": "digits",
    "num_rounds": "2",
    "config": [{"batch_size": "8", "learning_rate": "0.5"}],
    "plugins": {"trainer": "tflite"},
}
SPEC = demo_data.read("model.json")


class Agent:
    """An agent without a broker, and its HTTP API."""

    def __init__(self, folder: Path, **settings: str) -> None:
        x, y = next(learnable_data().batches())
        np.savez(folder / "data.npz", x=x, y=y)
        environ = {
            "FEDBUS_DATA": str(folder / "data.npz"),
            "FEDBUS_HOME": str(folder),
            "FEDBUS_HTTP": "127.0.0.1:9050",
            **{f"FEDBUS_{name.upper()}": value for name, value in settings.items()},
        }
        self.home = folder / "agent.a"
        identity = Identity(name="agent.a", incarnation=1)
        built = build(settings_from(environ, AgentSettings), identity)
        assert isinstance(built.core, AgentCore)
        assert built.http_api is not None
        self.core = built.core
        self.node = Node(identity, built.core, Random(1))
        self.shell = Shell(self.node, 1)
        self.server = TestServer(make_app(self.shell, built.http_api(self.shell)))
        self.headers = {"Authorization": f"Bearer {TOKEN}"}

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:  # noqa: ANN401 - aiohttp's
        """Send a request; return the status and the body, decoded if it is JSON."""
        headers = {**self.headers, **more.pop("headers", {})}
        async with (
            ClientSession() as session,
            session.request(method, self.server.make_url(path), headers=headers, **more) as answer,
        ):
            text = await answer.read()
            plain = "json" in answer.content_type
            return answer.status, json.loads(text) if plain else text

    async def upload_digits(self) -> None:
        """Upload the digits model."""
        assert (await self.ask("POST", "/model/", data=SPEC))[0] == 201
        form = FormData()
        form.add_field("architecture", FILE, filename="digits.tflite")
        assert (await self.ask("PUT", "/model/digits/1", data=form))[0] == 204

    async def until(self, job: str, *phases: str) -> dict[str, Any]:
        """Wait until a job has one of some phases."""
        async with asyncio.timeout(20):
            while True:
                _, report = await self.ask("GET", f"/job/status/{job}")
                if report["phase"] in phases:
                    return dict(report)
                await asyncio.sleep(0.02)


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    """Serve an agent's HTTP API."""
    agent = Agent(tmp_path, http_token=TOKEN)
    async with agent.server:
        yield agent
        agent.node.stopping(0.0)
        agent.shell.close()
        assert await agent.shell.wait_for_threads()


@needs_tflite
async def test_a_standalone_job_is_started_shown_and_its_result_fetched(agent: Agent) -> None:
    """With no broker and no controller; sent twice, it is started once."""
    await agent.upload_digits()
    status, started = await agent.ask("POST", "/job/config/solo-1/", json=JOB)
    assert (status, started["phase"], started["ignored"]) == (200, "TRAINING", [])
    report = await agent.until("solo-1", "FINISHED", "FAILED")
    assert report["phase"] == "FINISHED", report["reason"]
    assert len(report["rounds"]) == 2
    assert report["progress"] == 1.0
    assert await agent.ask("GET", "/job/status") == (200, {})
    assert await agent.ask("GET", "/job/total") == (200, 0)
    status, weights = await agent.ask("GET", report["weights"])
    assert (status, weights[:2]) == (200, b"PK")
    assert (await agent.ask("GET", "/job/result/solo-1"))[1] == report
    assert (await agent.ask("POST", "/job/config/solo-1", json=JOB))[1] == report
    again = {**JOB, "num_rounds": 3}
    status, response = await agent.ask("POST", "/job/config/solo-1/", json=again)
    assert status == 409
    assert response["error"] == "there was a job solo-1 here already; give this one another id"
    _, metrics = await agent.ask("GET", "/metrics")
    text = metrics.decode()
    assert 'fedbus_agent_tasks_total{kind="standalone",outcome="done"} 2.0' in text
    assert 'fedbus_training_round{job="solo-1"} 2.0' in text
    assert 'fedbus_training_metric{job="solo-1",metric="accuracy"}' in text
    assert "machine_capabilities_free_storage " in text
    assert "machine_capabilities_free_memory " in text
    assert "machine_capabilities_gpu 0.0" in text
    assert all(name in text for name in OF_WORK)
    _, metrics = await agent.ask("GET", "/metrics", headers={"Authorization": "Bearer other"})
    public = metrics.decode()
    assert 'fedbus_agent_tasks_total{kind="standalone",outcome="done"} 2.0' in public
    assert "machine_capabilities_free_storage " in public
    assert "fedbus_training" not in public
    assert "solo-1" not in public
    assert not [name for name in OF_WORK if name in public]


@needs_tflite
async def test_a_job_is_stopped_and_the_next_one_continues(agent: Agent) -> None:
    """By either path; the second stop changes nothing."""
    await agent.upload_digits()
    long = {**JOB, "num_rounds": 100_000}
    await agent.ask("POST", "/job/config/solo-1/", json=long)
    await agent.ask("POST", "/job/config/b/", json={**long, "training_id": "b"})
    assert await agent.ask("GET", "/job/total") == (200, 2)
    assert (await agent.ask("GET", "/job/status"))[1] == {"solo-1": 1, "b": 1}
    for method, path in (("DELETE", "/job/solo-1"), ("POST", "/job/stop/solo-1")):
        status, report = await agent.ask(method, path)
        assert (status, report["phase"], report["reason"]) == (
            200,
            "INTERRUPTED",
            "stopped by a user",
        )
    await agent.until("b", "TRAINING")
    assert (await agent.ask("DELETE", "/job/b"))[1]["phase"] == "INTERRUPTED"
    assert await agent.ask("GET", "/job/total") == (200, 0)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer 0123456789abcdeX"},
        {"Authorization": f"Basic {TOKEN}"},
    ],
)
async def test_a_request_without_the_token_is_refused(
    agent: Agent, headers: dict[str, str]
) -> None:
    """At every path but the public ones, which each service has."""
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{training_id}", "x").replace("{name}/{version}", "m/1")
        status, response = await agent.ask(endpoint.method, path, headers=headers, data=b"x" * 10)
        assert status == (200 if endpoint.public else 401), path
        assert endpoint.public or "Authorization: Bearer" in response["error"]
    assert (await agent.ask("GET", "/nothing", headers=headers))[0] == 401
    assert (await agent.ask("GET", "/metrics", headers=headers))[0] == 200
    assert (await agent.ask("GET", "/healthz", headers=headers))[0] == 503


@needs_tflite
@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("solo-1", b"{bad", 400, "not JSON at line 1, column 2"),
        ("other", json.dumps(JOB).encode(), 400, "training_id: solo-1 in the file, other in"),
        ("-bad-", json.dumps(JOB).encode(), 400, "training_id: not 1 to 64 letters"),
        ("solo-1", json.dumps({**JOB, "num_round": 3}).encode(), 400, "num_round: unknown key"),
        ("solo-1", b" " * 300_000, 413, "300000 bytes, at most 262144"),
        (
            "solo-1",
            json.dumps({**JOB, "model_name": "faces"}).encode(),
            404,
            "model faces is not here; there is digits 1; POST /model/",
        ),
        (
            "solo-1",
            json.dumps({**JOB, "model_version": "../1"}).encode(),
            404,
            "model digits ../1 is not here",
        ),
        (
            "solo-1",
            json.dumps({**JOB, "plugins": {"trainer": "nope"}}).encode(),
            422,
            "no trainers plug-in named 'nope'",
        ),
        (
            "solo-1",
            json.dumps({**JOB, "strategy": "fedprox"}).encode(),
            422,
            "strategy 'fedprox' adds the objective 'proximal' to the loss, which needs a fleet",
        ),
        (
            "solo-1",
            json.dumps({**JOB, "plugins": {"loader": "nope"}}).encode(),
            422,
            "no loaders plug-in named 'nope'",
        ),
        (
            "solo-1",
            json.dumps({**JOB, "plugins": {"transforms": [{"id": "grayscale"}]}}).encode(),
            422,
            "plugins.transforms[0] (grayscale): images (height, width, channels) are taken",
        ),
    ],
)
async def test_a_job_that_cannot_be_started_is_refused(
    agent: Agent, path: str, body: bytes, status: int, sentence: str
) -> None:
    """With the reason, and for a bad file with all its faults."""
    await agent.upload_digits()
    got, response = await agent.ask("POST", f"/job/config/{path}/", data=body)
    assert got == status
    assert sentence in response["error"]
    assert bool(response["faults"]) == ("training_id" not in sentence and status == 400)
    assert await agent.ask("GET", "/job/total") == (200, 0)


async def test_a_job_whose_model_is_incomplete_or_takes_other_data_is_refused(agent: Agent) -> None:
    """The facts of the machine decide."""
    spec = json.loads(SPEC)
    await agent.ask("POST", "/model/", data=SPEC)
    status, response = await agent.ask("POST", "/job/config/solo-1/", json=JOB)
    assert status in {409, 422}  # where tflite is missing, that is said first
    assert "PUT /model/digits/1 uploads it" in response["error"] or "tflite" in response["error"]
    spec["input"] = {"data_types": {"image": {"size": [8, 8, 1]}}}
    await agent.ask("POST", "/model/", json={**spec, "model_version": "2"})
    wish = {**JOB, "model_version": "2", "plugins": {}}
    status, response = await agent.ask("POST", "/job/config/solo-1/", json=wish)
    assert status == 422
    assert "image [8, 8, 1]" in response["error"] or "needs one of" in response["error"]


async def test_no_job_is_started_while_training_hangs(agent: Agent) -> None:
    """The reason is that of the watchdog."""
    pytest.importorskip("tflite_runtime")
    await agent.upload_digits()
    agent.core._thread.trouble = "training hangs"  # noqa: SLF001 - as if
    status, response = await agent.ask("POST", "/job/config/solo-1/", json=JOB)
    assert (status, response["error"]) == (503, "training hangs")
    assert await agent.ask("GET", "/job/total") == (200, 0)


async def test_tokens_of_a_file_have_scopes(tmp_path: Path) -> None:
    """Instead of the one token that allows everything."""
    tokens = tmp_path / "tokens"
    entry = HttpToken.of("reader", ["jobs:read"], TOKEN)
    change_tokens(tokens, lambda _: (entry,))
    agent = Agent(tmp_path, http_tokens_file=str(tokens))
    async with agent.server:
        assert await agent.ask("GET", "/job/total") == (200, 0)
        for method, path, scope in (
            ("GET", "/model", "models:read"),
            ("POST", "/model", "models:write"),
            ("DELETE", "/job/x", "jobs:write"),
        ):
            status, response = await agent.ask(method, path)
            assert (status, scope in response["error"]) == (403, True)
        assert (await agent.ask("GET", "/job/total", headers={"Authorization": "x"}))[0] == 401
        agent.shell.close()
    with pytest.raises(SettingsError, match="FEDBUS_HTTP_TOKENS_FILE: there is FEDBUS_HTTP_TOKEN"):
        Agent(tmp_path, http_tokens_file=str(tokens), http_token=TOKEN)


def test_every_endpoint_but_the_public_ones_has_a_scope() -> None:
    """So that no token of a file allows more than it says."""
    assert [each.path for each in ENDPOINTS if not each.public and each.scope is None] == []


async def test_unknown_jobs_are_not_shown(agent: Agent) -> None:
    """Nor are those of a controller, which its own commands show."""
    for method, path in (
        ("GET", "/job/status/x"),
        ("GET", "/job/result/x"),
        ("GET", "/job/result/x/weights"),
        ("DELETE", "/job/x"),
        ("POST", "/job/stop/x"),
    ):
        status, response = await agent.ask(method, path)
        assert (status, response["error"]) == (404, "no standalone job x here")
    sender = replace(agent.node.identity, name=CONTROLLER)
    agent.node.receive(sender.packet_to(agent.node.identity.name, train()), 1.0)
    assert (await agent.ask("GET", "/job/status"))[1] == {"job-1": 1}
    status, response = await agent.ask("DELETE", "/job/job-1")
    assert (status, "fedbus job cancel job-1" in response["error"]) == (409, True)


async def test_models_are_uploaded_and_listed(agent: Agent) -> None:
    """Each refusal states what would be right."""
    assert await agent.ask("GET", "/model") == (200, [])
    status, response = await agent.ask("PUT", "/model/digits/1", data=FormData({"a": "b"}))
    assert (status, response["error"]) == (
        404,
        "model digits 1 is not here; POST /model/ its metadata first",
    )
    status, response = await agent.ask("POST", "/model/", data=b"[]")
    assert status == 400
    status, response = await agent.ask("POST", "/model/", json={**json.loads(SPEC), "wat": 1})
    assert (status, "wat: no such key; expected model, " in response["error"]) == (400, True)
    status, response = await agent.ask("POST", "/model/", data=SPEC)
    assert (status, response["weights"], len(response["missing"])) == (201, False, 1)
    assert (await agent.ask("POST", "/model", data=SPEC))[0] == 200
    other = {**json.loads(SPEC), "input": {}}
    status, response = await agent.ask("POST", "/model/", json=other)
    assert (status, response["error"]) == (
        409,
        "model digits 1 was uploaded with another spec",
    )
    assert (await agent.ask("GET", "/capabilities"))[1]["available_models"] == {"digits": "1"}


@pytest.mark.parametrize(
    ("form", "status", "sentence"),
    [
        ({"architecture": b"what"}, 400, "which the spec does not name"),
        ({"weights": b"what"}, 400, "not an .npz file of named arrays"),
        ({"architecture": b"x" * 2_000_000}, 413, "bytes, at most"),
        ({}, 400, "an empty form"),
        (None, 415, "send a form: curl -F"),
    ],
)
async def test_an_upload_that_cannot_be_used_is_refused(
    agent: Agent, form: dict[str, bytes] | None, status: int, sentence: str
) -> None:
    """Its length is checked before it is read; no file is left."""
    await agent.ask("POST", "/model/", data=SPEC)
    data: Any = b"raw"
    if form is not None:
        data = FormData(default_to_multipart=True)
        for name, content in form.items():
            data.add_field(name, io.BytesIO(content), filename="f")
    got, response = await agent.ask("PUT", "/model/digits/1", data=data)
    assert (got, sentence in response["error"]) == (status, True), response
    left = {path.name for path in (agent.home / "models" / "digits~1").iterdir()}
    assert left == {"spec.json"}


async def test_a_body_of_unknown_length_is_not_read(agent: Agent) -> None:
    """A client must send its length."""

    async def drops() -> AsyncIterator[bytes]:
        yield b"{"

    status, response = await agent.ask("POST", "/job/config/solo-1/", data=drops())
    assert (status, response["error"]) == (411, "send a Content-Length")


async def test_an_upload_larger_than_the_free_disk_is_refused(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a byte is written."""
    await agent.ask("POST", "/model/", data=SPEC)
    monkeypatch.setattr("fedbus_edge_agent.standalone.runner.free_storage", lambda _folder: 10)
    form = FormData(default_to_multipart=True)
    form.add_field("architecture", FILE, filename="digits.tflite")
    status, response = await agent.ask("PUT", "/model/digits/1", data=form)
    assert (status, "10 are free" in response["error"]) == (507, True)


async def test_weights_larger_than_the_memory_are_not_unpacked(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the compressed file is."""
    wide = [{"name": "w", "shape": [2**30], "dtype": "float32"}]
    spec = {"model": "wide", "layout": wide, "architectures": {"torch": {}}}
    assert (await agent.ask("POST", "/model/", json=spec))[0] == 201
    monkeypatch.setattr("fedbus_edge_agent.host.capabilities.memory_mb", lambda: 512)
    form = FormData(default_to_multipart=True)
    form.add_field("weights", b"PK", filename="w.npz")
    status, response = await agent.ask("PUT", "/model/wide/1", data=form)
    assert (status, "MiB of memory" in response["error"]) == (507, True)


async def test_capabilities_and_data_format_are_served(agent: Agent) -> None:
    """With aerOS's names."""
    _, can = await agent.ask("GET", "/capabilities")
    assert can.keys() == {
        "storage",
        "RAM",
        "GPU",
        "preinstalled_libraries",
        "available_models",
    }
    assert can["preinstalled_libraries"]["numpy"] == np.__version__
    _, form = await agent.ask("GET", "/format")
    assert form["x"]["data_types"]["numerical"]["size"] == [64]


async def test_the_api_is_described_as_openapi_and_as_a_page(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its own schemas; without Swagger UI's package the page loads no other file."""
    _, response = await agent.ask("GET", "/openapi.json", headers={"Authorization": ""})
    paths = {(m.upper(), path) for path, methods in response["paths"].items() for m in methods}
    assert paths == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    schemas = response["components"]["schemas"]
    assert set(_references(response)) <= {f"#/components/schemas/{name}" for name in schemas}
    assert "training_id" in schemas["JobFile"]["properties"]
    ids = [o["operationId"] for methods in response["paths"].values() for o in methods.values()]
    assert len(ids) == len(set(ids))
    monkeypatch.setattr(swagger_ui, "is_installed", lambda: False)
    _, page = await agent.ask("GET", "/docs", headers={"Authorization": ""})
    text = page.decode()
    assert "/job/config/{training_id}/" in text
    assert "http://" not in text
    assert "https://" not in text
    assert "<script" not in text


def _references(response: object) -> list[str]:
    match response:
        case {"$ref": str(found), **rest}:
            return [found, *_references(list(rest.values()))]
        case dict():
            return _references(list(response.values()))
        case list():
            return [ref for each in response for ref in _references(each)]
        case _:
            return []


async def test_without_a_token_only_health_and_metrics_are_served(tmp_path: Path) -> None:
    """Other paths answer with the setting that turns the API on."""
    closed = Agent(tmp_path)
    async with closed.server:
        status, response = await closed.ask("GET", "/job/status")
        assert (status, "FEDBUS_HTTP_TOKEN_FILE" in response["error"]) == (404, True)
        assert (await closed.ask("GET", "/docs"))[0] == 404
        _, metrics = await closed.ask("GET", "/metrics")
        assert b"machine_capabilities_gpu" in metrics
        assert not [name for name in OF_WORK if name in metrics.decode()]
    with pytest.raises(SettingsError, match=r"other machines can reach 0\.0\.0\.0:1"):
        Agent(tmp_path, http="0.0.0.0:1", http_open="true")


async def test_on_loopback_an_owner_may_allow_access_without_a_token(tmp_path: Path) -> None:
    """But web pages are refused."""
    agent = Agent(tmp_path, http_open="true")
    agent.headers = {}
    async with agent.server:
        assert (await agent.ask("GET", "/job/total")) == (200, 0)
        status, response = await agent.ask("GET", "/job/total", headers={"Origin": "http://x"})
        assert (status, "web pages" in response["error"]) == (403, True)


async def test_text_responses_end_with_a_newline(agent: Agent) -> None:
    """Else a shell's prompt follows in the same line; files are sent unchanged."""
    for path in ("/healthz", "/metrics", "/job/total", "/job/status/none", "/nowhere", "/docs"):
        async with (
            ClientSession() as session,
            session.get(agent.server.make_url(path), headers=agent.headers) as answer,
        ):
            body = await answer.read()
        assert body.endswith(b"\n"), path
        assert not body.endswith(b"\n\n"), path
