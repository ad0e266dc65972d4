"""Commands, programs and settings of `docs/inference.md`, run and compared as they are printed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import fedbus
from fedbus.client import Refused, SyncClient
from fedbus.mqtt.mosquitto import LocalBroker, free_port
from fedbus.runtime.settings import ServiceSettings
from fedbus_inference.settings import InferenceSettings
from tests.page_commands import ROOT, blocks_of, commands_of, run_block, run_here
from tests.system.fedbus_up import until
from tests.system.fork_server import fork_server

PAGE = "inference.md"
HTTP, GRPC = "127.0.0.1:9080", "127.0.0.1:9081"
"""Addresses in the page."""
BIN = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
START_SECONDS = 60.0


def test_the_page_lists_each_setting_with_its_default() -> None:
    """A setting that is added or changed is described there in the same commit."""
    text = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    own = InferenceSettings.model_fields.keys() - (ServiceSettings.model_fields.keys() - {"home"})
    for name in own:
        (default,) = re.findall(rf"\| [^|]*`FEDBUS_{name.upper()}`[^|]* \| ([^|]*)\|", text)
        stated = default.strip().strip("`")
        expected = InferenceSettings.model_fields[name].default
        match expected:
            case None | "":
                assert not stated, name
            case bool():
                assert stated == str(expected).lower(), name
            case int() | float():
                assert float(stated) == expected, name
            case _:
                assert stated == str(expected), name


@contextmanager
def served_alone(line: str, http: str, folder: Path) -> Iterator[None]:
    """Run the page's service until the context ends."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FEDBUS_")}
    process = subprocess.Popen(
        ["/bin/sh", "-c", line.replace(" python ", " exec python ")],
        env={**environ, "FOLDER": str(folder), "PATH": BIN},
        cwd=ROOT,
    )
    try:
        until = time.monotonic() + START_SECONDS
        while not is_ready(http):
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < until, "it does not answer"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def is_ready(http: str) -> bool:
    """Return whether the service answers for its model."""
    try:
        with urlopen(f"http://{http}/v2/models/digits/ready", timeout=5) as answer:
            return bool(json.loads(answer.read())["ready"])
    except (URLError, OSError):
        return False


@pytest.mark.system
def test_the_service_alone_runs_as_printed(tmp_path: Path) -> None:
    """From no file to answers over HTTP, Triton's clients and ASSIST-IoT's stream."""
    for needed in ("sklearn", "tflite_runtime", "tritonclient"):
        pytest.importorskip(needed)
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    ports = {HTTP: f"127.0.0.1:{free_port()}", GRPC: f"127.0.0.1:{free_port()}"}

    def moved(text: str) -> str:
        for printed, real in ports.items():
            text = text.replace(printed, real)
        return text

    lines = [moved(line) for line in commands_of(PAGE, "Try it alone")]
    said = [run_here(line, FOLDER=str(tmp_path)) for line in lines[:5]]
    assert [row.split()[1] for row in said[4].splitlines()[1:]] == ["0", "1"]
    (start,) = re.findall(r"^FEDBUS_BROKER=none .+$", page_text(), re.MULTILINE)
    with served_alone(moved(start), ports[HTTP], tmp_path):
        answer, metadata, metrics = (run_here(line, FOLDER=str(tmp_path)) for line in lines[5:])
        printed = [run_block(moved(block)) for block in blocks_of(PAGE, "python")]
    assert json.loads(answer)["classes"] == [0, 1]
    assert json.loads(metadata)["inputs"][0]["name"] == "inputs"
    assert named_metrics() <= set(
        re.findall(r"^(fedbus_inference_\w+?)(?:_bucket|_count|_sum)?[{ ]", metrics, re.MULTILINE)
    )
    assert printed == ["[0 1]\n[0 1]\n", "0 [1, 10]\n1 [1, 10]\n"]


def page_text() -> str:
    """Return the page."""
    return (ROOT / "docs" / PAGE).read_text(encoding="utf-8")


def named_metrics() -> set[str]:
    """Return the metrics that the page describes."""
    return set(re.findall(r"^\| `(fedbus_inference_\w+)` \|", page_text(), re.MULTILINE))


@contextmanager
def serving_cluster(folder: Path) -> Iterator[str]:
    """Run what answers on a cluster, a broker, a repository and inference; yield a user's URL."""
    accounts = {"repository.1": "r", "inference.1": "i", "user.me": "u"}
    with LocalBroker(folder / "broker", accounts=accounts) as broker:
        started = []
        for service, own in (
            ("repository", {"FEDBUS_DATA": str(folder / "data")}),
            ("inference", {"FEDBUS_HOME": str(folder / "home")}),
        ):
            login = {"FEDBUS_BROKER": broker.address(f"{service}.1").url, "OMP_NUM_THREADS": "1"}
            log, module = folder / f"{service}.log", f"fedbus_{service}"
            started.append(fork_server().fork(module, {**os.environ, **login, **own}, log))
        try:
            yield broker.address("user.me").url
        finally:
            for process in started:
                process.signal(signal.SIGTERM)
            for process in started:
                process.reap()


def is_served(fed: SyncClient, rows: list[list[float]]) -> bool:
    """Return whether the inference service knows the model."""
    with suppress(Refused):
        return fed.infer("digits", rows).version == 1
    return False


@pytest.mark.system
def test_a_cluster_answers_as_printed(tmp_path: Path) -> None:
    """The command and a foreign client, without and with the choice of a version."""
    pytest.importorskip("tflite_runtime")
    if shutil.which("mosquitto_rr") is None:
        pytest.skip("mosquitto_rr is not installed")
    rows = {"inputs": [[0.5] * 64]}
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    with serving_cluster(tmp_path) as url:
        with fedbus.connect_sync(url) as fed:
            fed.push(ROOT / "libs/fedbus/src/fedbus/demo_data/model.json")
            until("the model is served", partial(is_served, fed, rows["inputs"]))
        said = [
            run_here(line, FOLDER=str(tmp_path), FEDBUS_BROKER=url)
            for line in commands_of(PAGE, "Try it on a cluster")
        ]
    assert said[0].startswith("digits version 1, probabilities\n")
    assert [json.loads(said[at])["version"] for at in (1, 4)] == [1, 1]
    assert said[2] == "production of digits names version 1\n"
    assert said[3] == said[0]
