"""Aliases from the repository to the answers of inference: real processes, over each protocol.

Three versions add 100, add 200, and look a number up in a table of four, which fails beyond it.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import fedbus
from benchmarks.live_inference import LiveService, live_service
from fedbus.cli.main import app
from fedbus.client import Client
from fedbus.errors import FedbusError
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus.wire.messages.model_trail import NameChange

pytestmark = pytest.mark.system

MODEL = "steps"
LONG = 60.0
ACCOUNTS = {"repository.1": "r", "inference.1": "i", "user.me": "u"}
INPUT = [[1.0, 2.0]]
BEYOND = [[1.0, 9.0]]


def write_model(path: Path, version: int) -> Path:
    """Write an ONNX file whose answers tell its version."""
    if version == 3:
        table = np.array([300, 301, 302, 303], np.float32)
        nodes = [
            helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["constant", "index"], ["y"]),
        ]
    else:
        table = np.array([100 * version], np.float32)
        nodes = [helper.make_node("Add", ["x", "constant"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "steps",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(table, "constant")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


class Deployment:
    """A broker with access rules, a repository with three versions, and an inference service."""

    def __init__(self, broker: LocalBroker, service: LiveService) -> None:
        self.url = broker.address("user.me").url
        self.service = service

    def command(self, *words: str) -> str:
        """Run `fedbus`; return what it prints."""
        done = CliRunner().invoke(app, words, env={"FEDBUS_BROKER": self.url})
        assert done.exit_code == 0, done.output
        return done.stdout

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401 - JSON
        """Send a request over HTTP; return the answer's JSON."""
        status, answer, _ = self.service.send(
            path, json.dumps(body).encode(), Content_Type="application/json"
        )
        assert status == 200, answer
        return json.loads(answer)


@contextmanager
def deployment(folder: Path) -> Iterator[Deployment]:
    """Run everything in this block, with the alias `production` on version 1."""
    with LocalBroker(folder / "broker", accounts=ACCOUNTS) as broker:
        kept = {name: value for name, value in os.environ.items() if name[:7] != "FEDBUS_"}
        repository = subprocess.Popen(
            [sys.executable, "-m", "fedbus_repository"],
            env=kept
            | {
                "FEDBUS_BROKER": broker.address("repository.1").url,
                "FEDBUS_DATA": str(folder / "data"),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        settings = {
            "serve_alias": "production",
            "canary_percent": "50",
            "canary_min_requests": "8",
            "runtime": "onnx",
        }
        try:
            with live_service(folder, broker.address("inference.1"), **settings) as service:
                here = Deployment(broker, service)
                for version in (1, 2, 3):
                    file = write_model(folder / f"{version}.onnx", version)
                    words = ("--name", MODEL, "--answers", "values")
                    here.command("models", "push", str(file), *words)
                here.command("models", "promote", f"{MODEL}@1", "--to", "production")
                yield here
        finally:
            repository.terminate()
            repository.wait(20)


async def until_answered(fed: Client, target: str, version: int) -> None:
    """Ask until this version answers."""
    while True:
        try:
            if (await fed.infer(target, INPUT)).version == version:
                return
        except FedbusError:
            pass  # it has not heard of the model, or is loading it
        await asyncio.sleep(0.05)


async def ask_on(fed: Client, target: str, seen: list[int], ending: asyncio.Event) -> None:
    """Ask again and again; each request has an answer, and the version that it names gave it."""
    while not ending.is_set():
        answer = await fed.infer(target, INPUT)
        assert np.asarray(answer.outputs)[0, 0] == INPUT[0][0] + 100 * answer.version
        seen.append(answer.version)


async def until_seen(seen: list[int], version: int) -> None:
    """Wait until the latest answer is of this version."""
    while not seen or seen[-1] != version:  # noqa: ASYNC110 - the list has no event
        await asyncio.sleep(0.02)


async def promoted_and_rolled_back(url: str) -> tuple[list[int], list[int]]:
    """Promote version 2 and roll back while two clients ask; return the versions that answered."""
    by_default, by_name, ending = list[int](), list[int](), asyncio.Event()
    async with fedbus.connect(url) as fed, asyncio.timeout(LONG):
        await until_answered(fed, MODEL, 1)
        async with asyncio.TaskGroup() as asking:
            asking.create_task(ask_on(fed, MODEL, by_default, ending))
            asking.create_task(ask_on(fed, f"{MODEL}@production", by_name, ending))
            for version in (1, 2, 1):
                if version == 2:
                    await fed.promote(f"{MODEL}@2", "production")
                elif by_default[-1:] == [2]:
                    await fed.roll_back(MODEL, "production", note="too high")
                await until_seen(by_default, version)
                await until_seen(by_name, version)
            ending.set()
    return by_default, by_name


def test_promotion_and_roll_back_change_answers_and_lose_no_request(tmp_path: Path) -> None:
    """By default and by name, while both are asked all the time."""
    with deployment(tmp_path) as here:
        for seen in asyncio.run(promoted_and_rolled_back(here.url)):
            turns = [seen[at] for at in range(len(seen)) if at == 0 or seen[at] != seen[at - 1]]
            assert turns == [1, 2, 1]
        infer = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": INPUT}]}
        rows = tmp_path / "rows.json"
        rows.write_text(json.dumps(INPUT))
        names = {"": 1, "@production": 1, "@1": 1, "@2": 2, "@latest": 3}
        for choice, version in names.items():
            target = f"{MODEL}{choice}"
            printed = json.loads(here.command("infer", target, str(rows), "--json"))
            asked = here.post(f"/v1/models/{target}:predict", {"instances": INPUT})
            tensors = here.post(f"/v2/models/{target}/infer", infer)
            answered = printed["version"], asked["version"], int(tensors["model_version"])
            assert answered == (version,) * 3, target
        pinned = here.post(f"/v2/models/{MODEL}/versions/2/infer", infer)
        assert (pinned["model_version"], pinned["outputs"][0]["data"]) == ("2", [201.0, 202.0])


async def until_rolled_back(here: Deployment, fed: Client) -> tuple[NameChange, ...]:
    """Ask what version 3, the canary, fails at until it is rolled back; return the history."""
    await until_answered(fed, MODEL, 3)
    asked = 0
    while (changes := await fed.name_changes(MODEL, "canary"))[0].kind == "promotion":
        answer = await fed.infer(MODEL, BEYOND)
        assert np.asarray(answer.outputs).tolist() == [[101.0, 109.0]]
        answered = here.post(f"/v1/models/{MODEL}:predict", {"instances": BEYOND})
        assert answered["predictions"] == [[101.0, 109.0]]
        asked += 2
    assert asked >= 8
    return changes


async def rolled_back_twice(here: Deployment) -> tuple[NameChange, ...]:
    """Have a canary without and one with a version before it fail; return the alias's history."""
    async with fedbus.connect(here.url) as fed, asyncio.timeout(LONG):
        await until_answered(fed, MODEL, 1)
        await fed.promote(f"{MODEL}@3", "canary")
        await until_rolled_back(here, fed)
        await fed.promote(f"{MODEL}@2", "canary")
        await until_answered(fed, MODEL, 2)
        await fed.promote(f"{MODEL}@3", "canary")
        changes = await until_rolled_back(here, fed)
        await until_answered(fed, MODEL, 2)  # which is the canary again
        return changes


def test_a_canary_that_fails_is_rolled_back_and_no_client_sees_it(tmp_path: Path) -> None:
    """The version beside it answers in its place; the history says who rolled back, and why."""
    with deployment(tmp_path) as here:
        changes = asyncio.run(rolled_back_twice(here))
        here.service.until_log("canary_rolled_back")
    assert [(each.kind, each.version, each.by) for each in changes] == [
        ("roll-back", 2, "inference.1"),
        ("promotion", 3, "user.me"),
        ("promotion", 2, "user.me"),
        ("roll-back", None, "inference.1"),
        ("promotion", 3, "user.me"),
    ]
    assert changes[0].note.startswith("failed at ")
