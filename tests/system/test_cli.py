"""Commands and foreign MQTT clients against a cluster of real processes."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

from fedbus.cli.exit_codes import FAILED, INTERRUPTED, OK, REFUSED, USAGE
from tests.killed_process import killed_at_exit
from tests.system.fedbus_up import FEDBUS, FedbusUp, digits_job, processes_of, until

pytestmark = pytest.mark.system
pytest.importorskip("sklearn")
pytest.importorskip("tflite_runtime")

NODES = {
    *("repository.1", "controller.1", "collector.1", "inference.1", "broker"),
    *("agent.1", "agent.2", "agent.3", "agent.evaluator"),
}
STATE = "fedbus/v1/jobs/{}/state"
ME = "fedbus/v1/replies/me"
HTTP_PATHS = {
    "repository.1": "/model",
    "controller.1": "/job/status",
    "inference.1": "/v1/models/digits",
    "agent.1": "/job/status",
}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FedbusUp]:
    """A cluster of three agents; at the end Ctrl-C ends it, and nothing of it is left."""
    folder = tmp_path_factory.mktemp("up")
    with FedbusUp(folder, "--agents", "3") as cluster:
        assert set(cluster.running.processes) == NODES
        yield cluster
        assert cluster.interrupt() == OK, cluster.output
        assert cluster.output.endswith("stopping …\nall processes have ended\n")
        assert processes_of(cluster.home) == []


def held_out(up: FedbusUp) -> tuple["np.ndarray[tuple[int, ...], np.dtype[np.float32]]", list[int]]:
    """Digits that no agent trains on."""
    with np.load(up.home / "data" / "held_out.npz", allow_pickle=False) as shard:
        return shard["x"], shard["y"].tolist()


def test_agents_are_listed_with_what_they_can_do(up: FedbusUp) -> None:
    """Agents announce themselves; no list of them is configured."""
    agents = {agent["node"]: agent for agent in up.run_json("agents")}
    assert set(agents) == {"agent.1", "agent.2", "agent.3", "agent.evaluator"}
    assert agents["agent.evaluator"]["agent"]["roles"] == ["evaluate"]
    assert all(agent["online"] for agent in agents.values())
    assert sum(a["agent"]["examples"] for a in agents.values()) == 1797
    table = up.run("agents", "--all").stdout
    assert all(name in table for name in NODES - {"broker"})


def test_a_job_is_submitted_watched_and_shown(up: FedbusUp) -> None:
    """The state that is shown is the one on the bus, byte for byte as JSON."""
    file = up.write("watched.json", digits_job("watched"))
    watched = up.run("job", "submit", file, "--watch")
    assert watched.returncode == OK, watched.stderr
    said = re.findall(r"^round +(\d+)  accuracy [\d.]+ %", watched.stdout, re.MULTILINE)
    assert said == ["1", "2"]
    assert "job watched finished: all 2 rounds are done" in watched.stdout
    shown = up.run_json("job", "show", "watched")
    rounds = shown.pop("rounds")
    assert [each["round"] for each in rounds] == [1, 2]
    times = [shown["submitted"], *(each["at"] for each in rounds), shown["ended"], shown["at"]]
    assert times == sorted(times)
    assert shown == json.loads(up.run_mosquitto("sub", "-t", STATE.format("watched"), "-C", "1"))
    facts = {key: shown[key] for key in ("job", "phase", "round", "num_rounds")}
    assert facts == {"job": "watched", "phase": "finished", "round": 2, "num_rounds": 2}
    assert shown["metrics"]["accuracy"] > 0.5
    assert shown in up.run_json("job", "list", "--phase", "finished", "--model", "digits")
    assert shown not in up.run_json("job", "list", "--phase", "running")
    assert "round   2  accuracy" in up.run("job", "show", "watched").stdout
    again = up.run("job", "submit", file, "--watch")
    assert again.returncode == OK  # it is the same job
    assert again.stdout.startswith("job watched finished already at ")
    assert "nothing runs" in again.stdout
    content = json.dumps(json.loads(Path(file).read_bytes()), indent=4, sort_keys=True)
    foreign = json.loads(up.run_mosquitto("rr", "-t", "fedbus/v1/submit", "-e", ME, "-m", content))
    assert (foreign["accepted"], foreign["known"], foreign["phase"]) == (True, True, "finished")
    once_more = up.run("job", "submit", file, "--again", "--watch")
    assert "job watched.2 finished: all 2 rounds are done" in once_more.stdout, once_more.stderr
    for job in ("watched", "watched.2"):
        assert up.run("job", "forget", job).returncode == OK
        assert up.run("job", "show", job).returncode == REFUSED


def test_a_jobs_states_are_lines_for_programs(up: FedbusUp) -> None:
    """Each of them a JSON object, the last of them how it ended."""
    file = up.write("lines.json", digits_job("lines", num_rounds=1))
    done = up.run("job", "submit", file, "--watch", "--json")
    states = [json.loads(line) for line in done.stdout.splitlines()]
    assert states[-1]["phase"] == "finished"
    assert {state["job"] for state in states} == {"lines"}


def test_a_wrong_job_is_refused_with_every_fault(up: FedbusUp) -> None:
    """Each names its key, and the nearest one that is valid."""
    wrong = digits_job("wrong", num_round=3, config=[{"lerning_rate": 1}])
    del wrong["num_rounds"]
    file = up.write("wrong.json", wrong)
    refused = up.run("job", "submit", file)
    assert refused.returncode == REFUSED
    assert "refused the job, 3 faults:" in refused.stderr
    assert "num_round: unknown key; did you mean 'num_rounds'?" in refused.stderr
    assert "config[0].lerning_rate: unknown key; did you mean 'learning_rate'?" in refused.stderr
    assert "num_rounds: missing" in refused.stderr
    answer = json.loads(
        up.run_mosquitto("rr", "-t", "fedbus/v1/submit", "-e", ME, "-m", json.dumps(wrong))
    )
    keys = {fault["key"] for fault in answer["faults"]}
    assert keys == {"num_round", "config[0].lerning_rate", "num_rounds"}
    for command in ("show", "watch", "cancel"):
        assert up.run("job", command, "wrong").returncode == REFUSED


def test_a_foreign_client_submits_follows_and_asks(up: FedbusUp) -> None:
    """Nothing but MQTT 5 is needed, and one account serves several clients at once."""
    submit = up.mosquitto_command("rr", "-t", "fedbus/v1/submit", "-e", ME)
    del submit  # skips here where there is none, before anything is started
    line = up.mosquitto_command("sub", "-t", STATE.format("foreign"))
    with killed_at_exit(subprocess.Popen(line, stdout=subprocess.PIPE, text=True)) as following:
        job = json.dumps(digits_job("foreign"))
        said = json.loads(up.run_mosquitto("rr", "-t", "fedbus/v1/submit", "-e", ME, "-m", job))
        assert said == {"accepted": True, "job": "foreign", "watch": "jobs/foreign/state"}
        assert following.stdout is not None
        phases = []
        for state in map(json.loads, following.stdout):
            phases.append(state["phase"])
            if state["phase"] == "finished":
                break
        assert following.poll() is None
    assert phases[0] in {"accepted", "running"}
    x, _ = held_out(up)
    question = json.dumps({"inputs": x[:2].tolist()})
    topic = "fedbus/v1/inference/digits/request"
    answer = json.loads(up.run_mosquitto("rr", "-t", topic, "-e", ME, "-m", question))
    assert answer["model"] == "digits"
    assert np.shape(answer["outputs"]) == (2, 10)


def test_a_job_is_cancelled(up: FedbusUp) -> None:
    """Its committed rounds stay. `fedbus job watch` ends with an exit code for it."""
    endless = digits_job("endless", num_rounds=10_000)
    assert up.run("job", "submit", up.write("endless.json", endless)).returncode == OK
    with up.start("job", "watch", "endless") as watching:
        until("a round", lambda: up.round("endless"), 60)
        assert up.run("job", "cancel", "endless").returncode == OK
        assert watching.wait(60) == FAILED
    assert up.run_json("job", "show", "endless")["phase"] == "cancelled"
    assert up.run("job", "cancel", "endless").returncode == OK  # as it is already
    assert up.run("job", "cancel", "never-was").returncode == REFUSED


def test_watching_is_left_with_ctrl_c(up: FedbusUp) -> None:
    """Without a traceback; the job goes on."""
    endless = digits_job("left", num_rounds=10_000)
    assert up.run("job", "submit", up.write("left.json", endless)).returncode == OK
    with up.start("job", "watch", "left") as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == INTERRUPTED
    assert up.run_json("job", "show", "left")["phase"] == "running"
    assert up.run("job", "cancel", "left").returncode == OK


def test_a_model_is_pulled_changed_and_pushed(up: FedbusUp) -> None:
    """A version that a user pushed is in the history like any other."""
    (latest,) = [ref for ref in up.run_json("models", "list") if ref["model"] == "digits"]
    pulled = up.run_json("models", "pull", "digits", "-o", "digits.npz")
    same = ("--version", str(pulled["version"]), "-o", "-", "--format", "npz")
    assert up.run_to("piped.npz", "models", "pull", "digits", *same) == OK
    assert (up.folder / "piped.npz").read_bytes()[:4] == b"PK\x03\x04"
    both = up.run("models", "pull", "digits", "-o", "-", "--json")
    assert both.returncode == USAGE
    assert "the file goes to standard output, as --json does" in both.stderr
    assert pulled["version"] >= latest["version"]
    with (
        np.load(up.folder / "digits.npz", allow_pickle=False) as found,
        np.load(up.folder / "piped.npz", allow_pickle=False) as piped,
    ):
        assert all((piped[name] == found[name]).all() for name in found.files)
        arrays = {name: found[name] + 1 for name in found.files}
    np.savez(up.folder / "changed.npz", **arrays)
    spec = {
        "model": "mine",
        "architectures": {"torch": {"name": "mlp", "config": {"layers": [64, 32, 10], "seed": 1}}},
    }
    push = ("models", "push", up.write("spec.json", spec), "--weights", "changed.npz")
    assert up.run_json(*push)["version"] == 1
    assert up.run_json(*push)["version"] == 1  # the same again is the same
    history = up.run_json("models", "show", "mine")["history"]
    assert [(facts["version"], facts["job"]) for facts in history] == [(1, None)]
    named = up.run_json(*push, "--classes", "a,b,c,d,e,f,g,h,i,j")
    assert (named["version"], up.run_json(*push)["version"]) == (2, 2)  # the names are kept
    kept = up.run(*push)
    assert "class names of version 2, a, b, c, d, e, f, g, h, i, j, are kept" in kept.stderr
    assert up.run_json("models", "show", "mine")["classes"] == list("abcdefghij")
    up.run_json("models", "pull", "mine", "-o", "mine.npz")
    with np.load(up.folder / "mine.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["layers.0.weight"], arrays["layers.0.weight"])


def test_an_unknown_model_is_refused_by_each_service(up: FedbusUp) -> None:
    """The inference service lists the models it knows."""
    assert up.run("models", "show", "nope").returncode == REFUSED
    inputs = up.write("one.json", [[0.0] * 64])
    refused = up.run("infer", "nope", inputs)
    assert refused.returncode == REFUSED
    assert "no model 'nope' here; known: digits" in refused.stderr


def test_a_version_is_asked_by_number_alias_and_tag(up: FedbusUp) -> None:
    """The command takes the notation of `fedbus models show`; a wrong one is a sentence."""
    inputs = up.write("chosen.json", [[0.0] * 64])
    assert up.run("models", "promote", "digits@1", "--to", "chosen").returncode == OK
    assert up.run("models", "tag", "digits@1", "first").returncode == OK
    for choice in ("1", "chosen", "first"):
        assert up.run_json("infer", f"digits@{choice}", inputs)["version"] == 1
    missing = up.run("infer", "digits@99999", inputs)  # jobs of other tests made many versions
    assert missing.returncode == REFUSED
    assert "no 99999" in missing.stderr
    assert up.run("infer", "digits@", inputs).returncode == USAGE


def test_arrays_and_json_get_the_same_answer(up: FedbusUp) -> None:
    """An array crosses as bytes, JSON as text."""
    x, _ = held_out(up)
    np.save(up.folder / "x.npy", x[:3])
    of_array = up.run_json("infer", "digits", "x.npy")
    of_json = up.run_json("infer", "digits", up.write("x.json", {"inputs": x[:3].tolist()}))
    np.testing.assert_allclose(of_array["outputs"], of_json["outputs"], rtol=1e-5)
    assert len(up.run("infer", "digits", "x.npy").stdout.splitlines()) == 4
    wrong = up.run("infer", "digits", up.write("short.json", [[0.0]]))
    assert wrong.returncode == REFUSED
    assert "this model takes" in wrong.stderr


@pytest.mark.parametrize("node", ["agent.2", "inference.1", "collector.1", "broker"])
def test_a_killed_process_is_started_again_and_the_job_continues(up: FedbusUp, node: str) -> None:
    """`fedbus up` prints a line about it, and the job continues."""
    name = f"after-{node}"
    endless = digits_job(name, num_rounds=10_000)
    assert up.run("job", "submit", up.write(f"{name}.json", endless)).returncode == OK
    before = until("a round", lambda: up.round(name), 60)
    up.kill(node)
    until("two more rounds", lambda: up.round(name) > before + 1, 90)
    assert up.run("job", "cancel", name).returncode == OK
    assert f"{'the broker' if node == 'broker' else node} is started again" in up.output


def test_a_second_cluster_in_the_same_home_is_refused(up: FedbusUp) -> None:
    """The message names the process of the running cluster."""
    second = up.run("up", "--home", str(up.home))
    assert second.returncode == USAGE
    assert f"a cluster runs there already (process {up.process.pid})" in second.stderr


def test_env_leads_other_programs_here(up: FedbusUp) -> None:
    """It prints the variable FEDBUS_BROKER, which services read too."""
    assert up.run_json("env")["FEDBUS_BROKER"] == up.running.broker
    assert up.run("--broker", up.running.broker, "agents").returncode == OK


def test_a_cluster_is_stopped_from_another_terminal_and_keeps_its_models(tmp_path: Path) -> None:
    """`fedbus down`, then `up` in the same home. Without accounts, with HTTP and its APIs."""
    tokens = tmp_path / "tokens"
    new = [*FEDBUS, "tokens", "new", "me", "models:read", "jobs:read", "inference", "--json"]
    environ = {"FEDBUS_HTTP_TOKENS_FILE": str(tokens)}
    made = subprocess.run(new, check=True, capture_output=True, env={**os.environ, **environ})
    bearer = {"Authorization": f"Bearer {json.loads(made.stdout)['token']}"}
    with FedbusUp(tmp_path, "--agents", "1", "--open", "--http", environ=environ) as cluster:
        for node, path in HTTP_PATHS.items():
            connection = HTTPConnection(cluster.running.http[node], timeout=30)
            connection.request("GET", path, headers=bearer)
            assert connection.getresponse().status == HTTPStatus.OK, node
            connection.close()
        assert set(cluster.running.http) == set(cluster.running.processes) - {"broker"}
        assert cluster.running.broker == f"mqtt://127.0.0.1:{cluster.running.broker.split(':')[-1]}"
        assert cluster.run("down").returncode == OK
        assert cluster.process.wait(30) == OK
        assert processes_of(cluster.home) == []
    with FedbusUp(tmp_path, "--agents", "1") as again:
        assert "the repository has model digits, version 1" in again.output
        again.process.kill()
        again.process.wait()
        until("nothing is left", lambda: processes_of(again.home) == [])


def test_a_process_that_cannot_start_ends_the_cluster_with_its_log(tmp_path: Path) -> None:
    """The exit code and the end of the log are printed."""
    data = tmp_path / "data"
    data.mkdir()
    np.savez(data / "held_out.npz", x=np.ones((2, 64), "f4"), y=np.zeros(2, "i8"))
    np.savez(data / "agent.lamp.npz", z=np.ones(2))
    line = [*FEDBUS, "up", "--home", str(tmp_path / "home"), "--data", str(data)]
    failed = subprocess.run(line, check=False, capture_output=True, text=True, timeout=90)
    assert failed.returncode == FAILED
    assert "agent.lamp ended with exit code 2; the end of " in failed.stderr
    assert "FEDBUS_DATA" in failed.stderr
    assert processes_of(tmp_path / "home") == []


def test_the_demo_ends_with_its_accuracy_and_leaves_nothing(tmp_path: Path) -> None:
    """At least 90 % within three minutes, and no file or process is left."""
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    line = [*FEDBUS, "demo", "--agents", "4"]
    demo = subprocess.run(
        line, check=False, capture_output=True, text=True, timeout=180, env=environ
    )
    assert demo.returncode == OK, demo.stderr
    *_, last = demo.stdout.splitlines()
    shown = re.fullmatch(r"held-out accuracy: (\d+\.\d) %", last)
    assert shown is not None
    assert float(shown[1]) >= 90
    assert re.search(r"version \d+ predicts \d .*; the label is \d", demo.stdout)
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
