"""The agent's own doors: aerOS's paths, a token, and every refusal in a sentence."""

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
from tests.edge_agent.training.test_local_trainer import FILE, needs_tflite, shard

TOKEN = "0123456789abcdef"
JOB = {
    "training_id": "solo-1",
    "model_name": "digits",
    "num_rounds": "2",
    "config": [{"batch_size": "8", "learning_rate": "0.5"}],
    "plugins": {"trainer": "tflite"},
}
SPEC = demo_data.read("model.json")


class Agent:
    """An agent on nobody's bus, and its doors."""

    def __init__(self, folder: Path, **settings: str) -> None:
        x, y = next(shard().batches())
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
        """Send a request; returns the status and what is answered."""
        headers = {**self.headers, **more.pop("headers", {})}
        async with (
            ClientSession() as session,
            session.request(method, self.server.make_url(path), headers=headers, **more) as answer,
        ):
            text = await answer.read()
            plain = "json" in answer.content_type
            return answer.status, json.loads(text) if plain else text

    async def bring(self) -> None:
        """Bring the digits model."""
        assert (await self.ask("POST", "/model/", data=SPEC))[0] == 201
        form = FormData()
        form.add_field("architecture", FILE, filename="digits.tflite")
        assert (await self.ask("PUT", "/model/digits/1", data=form))[0] == 204

    async def until(self, job: str, *phases: str) -> dict[str, Any]:
        """Wait until a job has come to a phase."""
        async with asyncio.timeout(20):
            while True:
                _, report = await self.ask("GET", f"/job/status/{job}")
                if report["phase"] in phases:
                    return dict(report)
                await asyncio.sleep(0.02)


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    """Open an agent's doors."""
    agent = Agent(tmp_path, http_token=TOKEN)
    async with agent.server:
        yield agent
        agent.node.stopping(0.0)
        agent.shell.close()
        assert await agent.shell.wait_for_threads()


@needs_tflite
async def test_a_standalone_job_is_begun_shown_and_its_result_fetched(agent: Agent) -> None:
    """With no broker and no controller; sent twice, it is begun once."""
    await agent.bring()
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
    status, said = await agent.ask("POST", "/job/config/solo-1/", json=again)
    assert status == 409
    assert said["error"] == "there was a job solo-1 here already; give this one another id"
    _, metrics = await agent.ask("GET", "/metrics")
    text = metrics.decode()
    assert 'fedbus_agent_tasks_total{kind="standalone",outcome="done"} 2.0' in text
    assert 'fedbus_training_round{job="solo-1"} 2.0' in text
    assert 'fedbus_training_metric{job="solo-1",metric="accuracy"}' in text
    assert "machine_capabilities_free_storage " in text
    assert "machine_capabilities_free_memory " in text
    assert "machine_capabilities_gpu 0.0" in text
    _, metrics = await agent.ask("GET", "/metrics", headers={"Authorization": "Bearer other"})
    public = metrics.decode()
    assert 'fedbus_agent_tasks_total{kind="standalone",outcome="done"} 2.0' in public
    assert "machine_capabilities_free_storage " in public
    assert "fedbus_training" not in public
    assert "solo-1" not in public


@needs_tflite
async def test_a_job_is_stopped_and_the_next_one_goes_on(agent: Agent) -> None:
    """By either path; stopped twice is stopped once."""
    await agent.bring()
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
async def test_who_has_not_the_token_gets_nothing(agent: Agent, headers: dict[str, str]) -> None:
    """From any door; what everybody may see is what everybody may see of each service."""
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{training_id}", "x").replace("{name}/{version}", "m/1")
        status, said = await agent.ask(endpoint.method, path, headers=headers, data=b"x" * 10)
        assert status == (200 if endpoint.public else 401), path
        assert endpoint.public or "Authorization: Bearer" in said["error"]
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
async def test_a_job_that_cannot_be_begun_is_refused(
    agent: Agent, path: str, body: bytes, status: int, sentence: str
) -> None:
    """With the reason, and, of a bad file, every fault of it."""
    await agent.bring()
    got, said = await agent.ask("POST", f"/job/config/{path}/", data=body)
    assert got == status
    assert sentence in said["error"]
    assert bool(said["faults"]) == ("training_id" not in sentence and status == 400)
    assert await agent.ask("GET", "/job/total") == (200, 0)


async def test_a_job_whose_model_is_not_whole_or_does_not_fit_is_refused(agent: Agent) -> None:
    """By the machine's own facts."""
    spec = json.loads(SPEC)
    await agent.ask("POST", "/model/", data=SPEC)
    status, said = await agent.ask("POST", "/job/config/solo-1/", json=JOB)
    assert status in {409, 422}  # where tflite is missing, that is said first
    assert "PUT /model/digits/1 uploads it" in said["error"] or "tflite" in said["error"]
    spec["input"] = {"data_types": {"image": {"size": [8, 8, 1]}}}
    await agent.ask("POST", "/model/", json={**spec, "model_version": "2"})
    wish = {**JOB, "model_version": "2", "plugins": {}}
    status, said = await agent.ask("POST", "/job/config/solo-1/", json=wish)
    assert status == 422
    assert "image [8, 8, 1]" in said["error"] or "needs one of" in said["error"]


async def test_no_more_jobs_are_taken_than_can_wait(agent: Agent) -> None:
    """And none while the worker hangs."""
    pytest.importorskip("tflite_runtime")
    await agent.bring()
    agent.core._thread.trouble = "training hangs"  # noqa: SLF001 - as if
    status, said = await agent.ask("POST", "/job/config/solo-1/", json=JOB)
    assert (status, said["error"]) == (503, "training hangs")
    assert await agent.ask("GET", "/job/total") == (200, 0)


async def test_jobs_that_are_not_here_are_not_shown(agent: Agent) -> None:
    """Nor are those of a controller, which has its own ways."""
    for method, path in (
        ("GET", "/job/status/x"),
        ("GET", "/job/result/x"),
        ("GET", "/job/result/x/weights"),
        ("DELETE", "/job/x"),
        ("POST", "/job/stop/x"),
    ):
        status, said = await agent.ask(method, path)
        assert (status, said["error"]) == (404, "no standalone job x here")
    sender = replace(agent.node.identity, name=CONTROLLER)
    agent.node.receive(sender.packet_to(agent.node.identity.name, train()), 1.0)
    assert (await agent.ask("GET", "/job/status"))[1] == {"job-1": 1}
    status, said = await agent.ask("DELETE", "/job/job-1")
    assert (status, "fedbus job cancel job-1" in said["error"]) == (409, True)


async def test_models_are_brought_and_listed(agent: Agent) -> None:
    """Each refusal says what would be right."""
    assert await agent.ask("GET", "/model") == (200, [])
    status, said = await agent.ask("PUT", "/model/digits/1", data=FormData({"a": "b"}))
    assert (status, said["error"]) == (
        404,
        "model digits 1 is not here; POST /model/ its metadata first",
    )
    status, said = await agent.ask("POST", "/model/", data=b"[]")
    assert status == 400
    status, said = await agent.ask("POST", "/model/", data=SPEC)
    assert (status, said["weights"], len(said["missing"])) == (201, False, 1)
    assert (await agent.ask("POST", "/model", data=SPEC))[0] == 200
    other = {**json.loads(SPEC), "input": {}}
    status, said = await agent.ask("POST", "/model/", json=other)
    assert (status, said["error"]) == (
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
async def test_an_upload_that_is_of_no_use_is_refused(
    agent: Agent, form: dict[str, bytes] | None, status: int, sentence: str
) -> None:
    """Measured before it is read; nothing of it is left."""
    await agent.ask("POST", "/model/", data=SPEC)
    data: Any = b"raw"
    if form is not None:
        data = FormData(default_to_multipart=True)
        for name, content in form.items():
            data.add_field(name, io.BytesIO(content), filename="f")
    got, said = await agent.ask("PUT", "/model/digits/1", data=data)
    assert (got, sentence in said["error"]) == (status, True), said
    left = {path.name for path in (agent.home / "models" / "digits~1").iterdir()}
    assert left == {"spec.json"}


async def test_a_body_of_unknown_length_is_not_read(agent: Agent) -> None:
    """Whoever sends one says how long it is."""

    async def drops() -> AsyncIterator[bytes]:
        yield b"{"

    status, said = await agent.ask("POST", "/job/config/solo-1/", data=drops())
    assert (status, said["error"]) == (411, "send a Content-Length")


async def test_a_machine_without_room_says_so(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written."""
    await agent.ask("POST", "/model/", data=SPEC)
    monkeypatch.setattr("fedbus_edge_agent.standalone.runner.free_storage", lambda _folder: 10)
    form = FormData(default_to_multipart=True)
    form.add_field("architecture", FILE, filename="digits.tflite")
    status, said = await agent.ask("PUT", "/model/digits/1", data=form)
    assert (status, "10 are free" in said["error"]) == (507, True)


async def test_weights_that_no_memory_holds_are_not_unpacked(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the file is that is sent for them."""
    wide = [{"name": "w", "shape": [2**30], "dtype": "float32"}]
    spec = {"model": "wide", "layout": wide, "architectures": {"torch": {}}}
    assert (await agent.ask("POST", "/model/", json=spec))[0] == 201
    monkeypatch.setattr("fedbus_edge_agent.host.capabilities.memory_mb", lambda: 512)
    form = FormData(default_to_multipart=True)
    form.add_field("weights", b"PK", filename="w.npz")
    status, said = await agent.ask("PUT", "/model/wide/1", data=form)
    assert (status, "MiB of memory" in said["error"]) == (507, True)


async def test_the_machine_describes_itself(agent: Agent) -> None:
    """As aerOS asks for it."""
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


async def test_the_doors_describe_themselves(agent: Agent) -> None:
    """From the models they are made of; the page needs nothing from elsewhere."""
    _, said = await agent.ask("GET", "/openapi.json", headers={"Authorization": ""})
    paths = {(m.upper(), path) for path, methods in said["paths"].items() for m in methods}
    assert paths == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    schemas = said["components"]["schemas"]
    assert set(_references(said)) <= {f"#/components/schemas/{name}" for name in schemas}
    assert "training_id" in schemas["JobFile"]["properties"]
    ids = [o["operationId"] for methods in said["paths"].values() for o in methods.values()]
    assert len(ids) == len(set(ids))
    _, page = await agent.ask("GET", "/docs", headers={"Authorization": ""})
    text = page.decode()
    assert "/job/config/{training_id}/" in text
    assert "http://" not in text
    assert "https://" not in text
    assert "<script" not in text


def _references(said: object) -> list[str]:
    match said:
        case {"$ref": str(found), **rest}:
            return [found, *_references(list(rest.values()))]
        case dict():
            return _references(list(said.values()))
        case list():
            return [ref for each in said for ref in _references(each)]
        case _:
            return []


async def test_without_a_token_only_what_all_services_have_is_open(tmp_path: Path) -> None:
    """And whoever asks for more is told what opens it."""
    closed = Agent(tmp_path)
    async with closed.server:
        status, said = await closed.ask("GET", "/job/status")
        assert (status, "FEDBUS_HTTP_TOKEN_FILE" in said["error"]) == (404, True)
        assert (await closed.ask("GET", "/docs"))[0] == 404
        _, metrics = await closed.ask("GET", "/metrics")
        assert b"machine_capabilities_gpu" in metrics
    with pytest.raises(SettingsError, match=r"other machines can reach 0\.0\.0\.0:1"):
        Agent(tmp_path, http="0.0.0.0:1", http_open="true")


async def test_on_loopback_an_owner_may_want_no_token(tmp_path: Path) -> None:
    """But no web page comes in."""
    agent = Agent(tmp_path, http_open="true")
    agent.headers = {}
    async with agent.server:
        assert (await agent.ask("GET", "/job/total")) == (200, 0)
        status, said = await agent.ask("GET", "/job/total", headers={"Origin": "http://x"})
        assert (status, "web pages" in said["error"]) == (403, True)


async def test_what_curl_prints_ends_its_line(agent: Agent) -> None:
    """Else a shell's prompt stands behind it; once only, and no file is changed."""
    for path in ("/healthz", "/metrics", "/job/total", "/job/status/none", "/nowhere", "/docs"):
        async with (
            ClientSession() as session,
            session.get(agent.server.make_url(path), headers=agent.headers) as answer,
        ):
            body = await answer.read()
        assert body.endswith(b"\n"), path
        assert not body.endswith(b"\n\n"), path
