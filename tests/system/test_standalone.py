"""Standalone jobs over HTTP with curl: one agent process, no controller, no broker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.cluster.process import die_with_parent_prefix
from fedbus.mqtt.mosquitto import free_port
from tests.page_commands import commands_of, run_line

pytest.importorskip("aiohttp")

TRAINERS = {"tflite": ("tflite_runtime", "ai_edge_litert", "tensorflow"), "torch": ("torch",)}
TRAINER = next((name for name, needs in TRAINERS.items() if any(map(find_spec, needs))), None)
TOKEN = "0123456789abcdef0123456789abcdef"
JOB = {
    "training_id": "solo",
    "model_name": "digits",
    "model_version": "1",
    "num_rounds": "3",
    "config": [{"batch_size": "16", "epochs": "2", "learning_rate": "0.2"}],
    "optimizer_config": {"optimizer": "sgd"},
    "plugins": {"trainer": TRAINER},
}
CURL = ("curl", "--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(TRAINER is None, reason="no framework"),
]


class AgentProcess:
    """An agent process, and requests to it by curl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.http = f"127.0.0.1:{free_port()}"
        (folder / "token").write_text(TOKEN + "\n")
        self.data(60)
        self._log = (folder / "log").open("ab")
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [*die_with_parent_prefix(), sys.executable, "-m", "fedbus_edge_agent"],
            stdout=self._log,
            stderr=self._log,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("FEDBUS_")},
                "FEDBUS_NAME": "alone",
                "FEDBUS_DATA": str(self.folder / "data.npz"),
                "FEDBUS_HOME": str(self.folder / "home"),
                "FEDBUS_HTTP": self.http,
                "FEDBUS_HTTP_TOKEN_FILE": str(self.folder / "token"),
                "FEDBUS_BROKER": f"mqtt://127.0.0.1:{free_port()}",  # no broker listens there
            },
        )
        self.until("it answers", lambda: self.curl("/openapi.json")[0] == 200)

    def data(self, rows: int, width: int = 64) -> None:
        """Write rows that can be learnt: the index of the largest input gives the class."""
        rng = np.random.default_rng(1)
        y = rng.integers(0, 10, rows)
        x = rng.uniform(0, 0.2, (rows, width)).astype(np.float32)
        x[np.arange(rows), y * (width // 10)] = 1
        new = self.folder / "new.npz"
        np.savez(new, x=x, y=y)
        new.rename(self.folder / "data.npz")

    def curl(self, path: str, *words: str, token: str | None = TOKEN) -> tuple[int, Any]:
        """Send a request; return the status and the parsed body."""
        header = () if token is None else ("-H", f"Authorization: Bearer {token}")
        done = subprocess.run(
            [*CURL, *header, *words, f"http://{self.http}{path}"],
            check=False,
            capture_output=True,
            text=True,
        )
        body, _, status = done.stdout.rpartition("\n")
        document = body[:1] in {"{", "["} or body.strip().isdigit()
        return int(status), json.loads(body) if document else body

    def post(self, path: str, body: object, *words: str) -> tuple[int, Any]:
        """Post a JSON value, or a text as it is."""
        text = body if isinstance(body, str) else json.dumps(body)
        file = self.folder / "body"
        file.write_text(text)
        return self.curl(path, "--data-binary", f"@{file}", *words)

    def until(self, what: str, true: Any) -> Any:  # noqa: ANN401 - whatever is true
        """Wait until something is true, while the process lives."""
        for _ in range(600):
            if self.process.poll() is not None:
                break
            if found := true():
                return found
            time.sleep(0.05)
        pytest.fail(f"not in 30 s: {what}\n{(self.folder / 'log').read_text()}")

    def phase(self, job: str, *phases: str) -> dict[str, Any]:
        """Wait until a job has come to a phase."""

        def there() -> Any:  # noqa: ANN401 - a report, or nothing
            report = self.curl(f"/job/status/{job}")[1]
            return report if report["phase"] in phases else None

        return dict(self.until(f"{job} is {' or '.join(phases)}", there))

    def add_model(self) -> None:
        """Add the digits model: its spec, and the file that the spec names."""
        (self.folder / "model.json").write_bytes(demo_data.read("model.json"))
        (self.folder / "digits.tflite").write_bytes(demo_data.read("digits.tflite"))
        spec = f"@{self.folder / 'model.json'}"
        assert self.curl("/model/", "--data-binary", spec)[0] == 201
        architecture = f"architecture=@{self.folder / 'digits.tflite'}"
        assert self.curl("/model/digits/1", "-X", "PUT", "-F", architecture)[0] == 204

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def restart(self) -> None:
        """Start the agent again, on the same disk."""
        self._start()

    def close(self) -> None:
        """Kill the process if it runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProcess]:
    """Start an agent without a broker."""
    agent = AgentProcess(tmp_path)
    yield agent
    agent.close()


def test_a_standalone_job_by_curl_alone(agent: AgentProcess) -> None:
    """Start, status, stop and result; finished rounds survive a kill."""
    agent.add_model()
    assert agent.curl("/model/")[1][0]["missing"] == []
    status, report = agent.post("/job/config/solo/", JOB)
    assert (status, report["phase"] in {"WAITING", "TRAINING"}) == (200, True)
    report = agent.phase("solo", "FINISHED", "FAILED")
    assert (report["phase"], report["round"]) == ("FINISHED", 3), report["reason"]
    assert len(report["rounds"]) == 3
    weights = agent.folder / "weights.npz"
    assert agent.curl(report["weights"], "--output", str(weights))[0] == 200
    with np.load(weights, allow_pickle=False) as arrays:
        assert {name: arrays[name].shape for name in arrays}["layers.0.weight"] == (64, 32)

    # The result becomes the next version of a model, over the same API.
    spec = {**json.loads((agent.folder / "model.json").read_text()), "model_version": "2"}
    assert agent.post("/model/", spec)[0] == 201
    parts = ("-F", f"architecture=@{agent.folder / 'digits.tflite'}", "-F", f"weights=@{weights}")
    assert agent.curl("/model/digits/2", "-X", "PUT", *parts)[0] == 204
    assert agent.curl("/model/")[1][-1]["weights"] is True

    long = {**JOB, "training_id": "long", "model_version": "2", "num_rounds": 100_000}
    assert agent.post("/job/config/long/", long)[0] == 200
    agent.until("a round is done", lambda: agent.curl("/job/status/long")[1]["round"])
    assert agent.curl("/job/status")[1] == {"long": 1}
    assert agent.curl("/job/total")[1] == 1
    assert agent.curl("/job/stop/long", "-X", "POST")[1]["phase"] == "INTERRUPTED"
    assert agent.curl("/job/total")[1] == 0

    assert agent.post("/job/config/cut/", {**long, "training_id": "cut"})[0] == 200
    agent.until("a round is done", lambda: agent.curl("/job/status/cut")[1]["round"])
    agent.end(signal.SIGKILL)
    agent.restart()
    assert agent.curl("/job/result/solo")[1] == report
    cut = agent.curl("/job/status/cut")[1]
    assert (cut["phase"], cut["reason"]) == ("INTERRUPTED", "the agent was restarted meanwhile")
    assert agent.curl(report["weights"], "--output", os.devnull)[0] == 200
    assert agent.end() == 0


def test_wrong_requests_are_refused_with_the_reason(agent: AgentProcess) -> None:
    """Each has a 4xx status and a message that says what to do; the agent continues."""
    agent.add_model()
    spec = json.loads((agent.folder / "model.json").read_text())
    big, pickled = agent.folder / "big", agent.folder / "pickled.npz"
    with big.open("wb") as file:
        file.truncate(2**31)
    np.savez(pickled, **{tensor["name"]: np.array([{}]) for tensor in spec["layout"]})
    wide = agent.folder / "wide.npz"
    np.savez(wide, **{t["name"]: np.zeros(t["shape"], np.float64) for t in spec["layout"]})
    deep, put = "[" * 100_000, ("-X", "PUT")
    huge = {"name": "w", "shape": [2**40], "dtype": "float32"}
    for (status, said), expected, mend in (
        (agent.curl("/job/total", token=None), 401, "Authorization: Bearer"),
        (agent.curl("/job/total", token="x" * 32), 401, "Authorization: Bearer"),
        (agent.post("/job/config/solo/", deep), 400, "levels of nesting"),
        (agent.post("/job/config/solo/", " " * 300_000), 413, "at most 262144"),
        (agent.post("/job/config/solo/", JOB, "-H", "Transfer-Encoding: chunked"), 411, "Content-"),
        (agent.post("/job/config/solo/", {**JOB, "model_name": "faces"}), 404, "POST /model/"),
        (agent.post("/job/config/solo/", {**JOB, "num_rounds": "many"}), 400, "num_rounds"),
        (agent.post("/model/", deep), 400, "expected at most 32 levels of nesting, got more"),
        (agent.post("/model/", {**spec, "model_version": "../../x"}), 400, "model_version"),
        (agent.post("/model/", {**spec, "model": "m", "layout": [huge]}), 400, "dimension"),
        (agent.curl("/model/digits/9", *put, "-F", "weights=@" + str(wide)), 404, "POST /model/"),
        (agent.curl("/model/digits/1", *put, "-F", "weights=@" + str(wide)), 400, "float64"),
        (agent.curl("/model/digits/1", *put, "-F", "weights=@" + str(pickled)), 400, "the layout"),
        (agent.curl("/model/digits/1", *put, "-F", "weights=@" + str(big)), 413, "at most"),
        (agent.curl("/job/stop/unknown", "-X", "POST"), 404, "unknown"),
        (agent.curl("/job/result/unknown/weights"), 404, "unknown"),
        (agent.curl("/job/config/solo/"), 405, "takes POST; not GET"),
    ):
        assert (status, mend in said["error"]) == (expected, True), said
    assert agent.curl("/job/total")[1] == 0
    memory = (Path("/proc") / str(agent.process.pid) / "status").read_text()
    (peak,) = [int(line.split()[1]) for line in memory.splitlines() if line.startswith("VmHWM")]
    assert peak < 300_000, "kB"  # 2 GiB were offered


def test_data_that_change_are_announced_with_no_broker(agent: AgentProcess) -> None:
    """A job for the new data is checked against the new format."""
    agent.add_model()

    def size() -> Any:  # noqa: ANN401 - a document's
        return agent.curl("/format")[1]["x"]["data_types"]["numerical"]["size"]

    assert size() == [64]
    agent.data(60, width=32)
    agent.until("the change is seen", lambda: size() == [32])
    status, said = agent.post("/job/config/solo/", JOB)
    assert (status, "64" in said["error"], "32" in said["error"]) == (422, True, True)


def test_the_page_of_the_agents_api_runs_as_printed(agent: AgentProcess) -> None:
    """Each line, in its order, in a shell that has the two variables it names."""
    lines = commands_of("agent.md")
    assert len(lines) == 11
    said = {}
    variables = {"AGENT": f"http://{agent.http}", "AUTH": f"Authorization: Bearer {TOKEN}"}
    for line in lines:
        said[line.partition("$AGENT")[2].split()[0]] = run_line(line, **variables)
    assert json.loads(said["/job/config/solo/"])["num_rounds"] == 3
    assert json.loads(said["/job/result/solo"])["phase"] == "FINISHED"
    assert said["/job/total"] == "0\n"
    assert "machine_capabilities_gpu" in said["/metrics"]
