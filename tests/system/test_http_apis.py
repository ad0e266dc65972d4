"""The HTTP APIs of a running controller and repository, with a real broker and real agents."""

import asyncio
import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")

import numpy as np
from aiohttp import ClientSession, FormData

from fedbus import demo_data
from fedbus.http_api.scopes import SCOPES
from fedbus.http_api.token_file import change_tokens
from fedbus.http_api.tokens import HttpToken, token_of
from fedbus.mqtt.mosquitto import free_port
from tests.page_commands import ROOT, commands_of, run_line
from tests.system.process_cluster import (
    CONTROLLER,
    JOB,
    MODEL,
    REPOSITORY,
    Plan,
    ProcessCluster,
)

pytestmark = pytest.mark.system

TOKEN = token_of(b"t" * 32)


class ApiUser:
    """A client of both services."""

    def __init__(self, session: ClientSession, ports: dict[str, int]) -> None:
        self.session, self.ports = session, ports

    async def ask(
        self,
        node: str,
        method: str,
        path: str,
        **more: Any,  # noqa: ANN401 - aiohttp's
    ) -> tuple[int, Any]:
        """Send a request; return the status and the body, decoded if it is JSON."""
        url = f"http://127.0.0.1:{self.ports[node]}{path}"
        async with self.session.request(method, url, **more) as answer:
            body = await answer.read()
            return answer.status, json.loads(body) if "json" in answer.content_type else body

    async def until(self, job: str, *status: str) -> dict[str, Any]:
        """Wait until a job has a status."""
        async with asyncio.timeout(60):
            while True:
                _, found = await self.ask(CONTROLLER, "GET", f"/job/status/{job}")
                if found["status"] in status:
                    return dict(found)
                await asyncio.sleep(0.1)


def job_of(**changes: object) -> dict[str, object]:
    """Return a job file of two rounds with two agents."""
    wish = {"agents": 2, "quorum": 2, "deadline_seconds": 30}
    return {"model_name": MODEL, "num_rounds": 2, "round": wish, **changes}


async def test_a_job_is_run_over_http_alone(tmp_path: Path) -> None:
    """Submitted, watched, read back, trained again by its configuration, and stopped."""
    tokens = tmp_path / "tokens"
    entry = HttpToken.of("all", SCOPES, TOKEN)
    await asyncio.to_thread(change_tokens, tokens, lambda _: (entry,))
    ports = {REPOSITORY: free_port(), CONTROLLER: free_port()}
    more = {
        node: {"http": f"127.0.0.1:{port}", "http_tokens_file": str(tokens)}
        for node, port in ports.items()
    }
    headers = {"Authorization": f"Bearer {TOKEN}"}
    plan = Plan(seed=1, agents=2, numbers=50_000, more=more)
    async with ProcessCluster(tmp_path, plan) as cluster, ClientSession(headers=headers) as session:
        await cluster.until("it leads", lambda: cluster.log_entries(CONTROLLER, "lease_taken"))
        user = ApiUser(session, ports)
        await run_a_job(user)
        await train_by_configuration(user)
        await upload_a_version(cluster, user)
        await cluster.finish(rounds=2)


async def run_a_job(user: ApiUser) -> None:
    """Run the job to its end."""
    status, body = await user.ask(CONTROLLER, "GET", f"/job/status/{JOB}")
    assert (status, body["status"]) == (200, "INACTIVE")
    status, body = await user.ask(CONTROLLER, "POST", f"/job/config/{JOB}/", json=job_of())
    assert (status, body["training_id"], body["known"]) == (201, JOB, False), body
    status, body = await user.ask(CONTROLLER, "POST", f"/job/config/{JOB}", json=job_of())
    assert (status, body["known"]) == (200, True)
    other = job_of(num_rounds=9)
    status, body = await user.ask(CONTROLLER, "POST", f"/job/config/{JOB}", json=other)
    assert (status, body["faults"][0]["key"]) == (400, "training_id")
    status, body = await user.ask(CONTROLLER, "POST", "/job", json=job_of(num_round=1))
    assert (status, body["faults"][0]["key"]) == (400, "num_round")
    found = await user.until(JOB, "FINISHED")
    assert (found["round"], found["model_version"]) == (2, 3)
    _, listed = await user.ask(CONTROLLER, "GET", "/job/status")
    assert [each["training_id"] for each in listed] == [JOB]
    status, file = await user.ask(CONTROLLER, "GET", f"/job/file/{JOB}")
    assert file == {**job_of(), "training_id": JOB}
    status, result = await user.ask(CONTROLLER, "GET", f"/job/result/{JOB}")
    assert (result["model_version"], result["results"]["rounds"]) == (3, 2)
    assert [each["round"] for each in result["results"]["per_round"]] == [2, 1]
    _, results = await user.ask(CONTROLLER, "GET", f"/job/results/{MODEL}")
    assert [each["training_id"] for each in results] == [JOB]
    for path in ("/job/file/none", "/job/result/none", "/job/results/none"):
        status, body = await user.ask(CONTROLLER, "GET", path)
        assert (status, bool(body["error"])) == (404, True)
    status, body = await user.ask(CONTROLLER, "POST", f"/job/stop/{JOB}")
    assert (status, body["error"]) == (409, f"job {JOB} has finished already")


async def train_by_configuration(user: ApiUser) -> None:
    """Store a configuration, start a job with it, and stop it."""
    long = job_of(num_rounds=100_000)
    status, stored = await user.ask(CONTROLLER, "POST", "/storeConfigurationModel", json=long)
    assert status == 201, stored
    again = {**long, "training_id": "some-id"}
    status, known = await user.ask(CONTROLLER, "POST", "/configurations", json=again)
    assert (status, known) == (200, stored)
    name = stored["configuration_id"]
    for method, path, body in (
        ("GET", f"/configurations/{name}", None),
        ("POST", "/recoverTrainedConfiguration", {"configurationId": name}),
        ("POST", "/showConfigurationModel", {"model_name": MODEL}),
    ):
        status, shown = await user.ask(CONTROLLER, method, path, json=body)
        assert (status, shown["configuration"]["num_rounds"]) == (200, 100_000), path
    for path in (
        "/configurations",
        f"/configurations?model={MODEL}",
        "/getConfigurations",
        "/models",
        f"/configurationsbyModel/{MODEL}",
    ):
        status, listed = await user.ask(CONTROLLER, "GET", path)
        assert listed[0]["configuration_id"] == name, path
        assert len(listed) == 2
    started = {"configuration_id": name, "training_id": "job-2"}
    status, body = await user.ask(CONTROLLER, "POST", "/trainingModel", json=started)
    assert (status, body["training_id"]) == (201, "job-2")
    status, body = await user.ask(
        CONTROLLER, "POST", "/trainingModel", json={"configuration_id": "none"}
    )
    assert status == 404
    await user.until("job-2", "TRAINING")
    status, enablers = await user.ask(CONTROLLER, "GET", "/recoverStatusFromEnablers")
    assert enablers["data"]["controller"] == "leads"
    assert enablers["data"]["training agents"] == 2
    status, body = await user.ask(CONTROLLER, "POST", "/job/stop")
    assert (status, body) == (200, {"stopped": ["job-2"]})
    found = await user.until("job-2", "INTERRUPTED")
    assert found["phase"] == "cancelled"
    status, body = await user.ask(CONTROLLER, "POST", "/FL_early_end", json={})
    assert (status, "stopping_target" in body["error"]) == (501, True)
    status, body = await user.ask(CONTROLLER, "GET", "/recoverTrainingEpochs/1/2")
    assert (status, "it would tell who trains" in body["error"]) == (501, True)


async def upload_a_version(cluster: ProcessCluster, user: ApiUser) -> None:
    """Upload a version of another model to the repository, which announces it."""
    spec = {
        "model": "uploaded",
        "layout": [{"name": "w", "shape": [4], "dtype": "float32"}],
        "architectures": {"light": {"name": "none"}},
    }
    status, draft = await user.ask(REPOSITORY, "POST", "/model", json=spec)
    assert (status, draft["model_version"]) == (201, "1"), draft
    weights = weights_of_four()
    form = FormData(default_to_multipart=True)
    form.add_field("weights", BytesIO(weights), filename="weights.npz")
    status, body = await user.ask(REPOSITORY, "PUT", "/model/uploaded/1", data=form)
    assert status == 204, body
    async with cluster.subscribed("models/uploaded/latest") as bus:
        async with asyncio.timeout(10):
            (packet,) = await bus.receive()
    assert json.loads(bytes(packet.payload))["version"] == 1
    status, blob = await user.ask(REPOSITORY, "GET", "/model/uploaded/latest")
    assert (status, blob[:4]) == (200, b"FBW1")
    moved = {"version": 1, "expected": 0}
    alias = "/models/uploaded/aliases/production"
    status, names = await user.ask(REPOSITORY, "PUT", alias, json=moved)
    assert (status, names["aliases"]) == (200, {"production": 1})
    async with cluster.subscribed("models/uploaded/aliases") as bus:
        async with asyncio.timeout(10):
            (packet,) = await bus.receive()
    assert json.loads(bytes(packet.payload))["aliases"]["production"]["version"] == 1
    _, models = await user.ask(REPOSITORY, "GET", "/model")
    assert [each["model_name"] for each in models] == [MODEL, "uploaded"]


def weights_of_four() -> bytes:
    """Return an .npz file with one array of four numbers."""
    file = BytesIO()
    np.savez(file, w=np.arange(4, dtype=np.float32))
    return file.getvalue()


async def test_the_page_of_http_runs_as_printed(tmp_path: Path) -> None:
    """Each line of the section, with curl, against a repository and a controller."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    tokens, ports = tmp_path / "tokens", {REPOSITORY: free_port(), CONTROLLER: free_port()}
    entry = HttpToken.of("me", SCOPES, TOKEN)
    await asyncio.to_thread(change_tokens, tokens, lambda _: (entry,))
    more = {
        node: {"http": f"127.0.0.1:{port}", "http_tokens_file": str(tokens)}
        for node, port in ports.items()
    }
    async with ProcessCluster(tmp_path, Plan(seed=2, agents=0, more=more)) as cluster:
        await cluster.until("it leads", lambda: cluster.log_entries(CONTROLLER, "lease_taken"))
        said = [
            await asyncio.to_thread(
                run_line,
                line,
                FOLDER=str(tmp_path),
                AUTH=f"Authorization: Bearer {TOKEN}",
                REPOSITORY=f"http://127.0.0.1:{ports[REPOSITORY]}",
                CONTROLLER=f"http://127.0.0.1:{ports[CONTROLLER]}",
            )
            for line in commands_of("http.md", "Try it")
        ]
    assert [each["model_name"] for each in json.loads(said[3])] == ["digits", MODEL]
    assert (tmp_path / "digits.blob").read_bytes().startswith(b"FBW1")
    assert int(said[5]) == 100
    assert (tmp_path / "digits.tflite").read_bytes() == demo_data.read("digits.tflite")
    assert json.loads(said[7])["tags"] == {"first": 1}
    assert json.loads(said[8])["aliases"] == {"production": 1}
    changes = json.loads(said[9])["changes"]
    assert [(each["kind"], each["by"]) for each in changes] == [
        ("promotion", "http.me"),
        ("tag", "http.me"),
    ]
    assert [each["model_version"] for each in json.loads(said[10])["versions"]] == ["1"]
    with np.load(tmp_path / "digits.npz") as arrays:
        assert set(arrays) == {
            each["name"] for each in json.loads(demo_data.read("model.json"))["layout"]
        }
    assert json.loads(said[12])["training_id"] == "digits-1"
    assert json.loads(said[13])["status"] in {"TRAINING", "WAITING"}
    assert json.loads(said[14]) == json.loads(demo_data.read("job.json"))
    assert [each["model_name"] for each in json.loads(said[15])] == ["digits"]
    assert json.loads(said[16])["status"] == "INTERRUPTED"
    assert json.loads(said[17])["results"]["phase"] == "cancelled"
    assert said[20] == await asyncio.to_thread((ROOT / "README.md").read_text, encoding="utf-8")
