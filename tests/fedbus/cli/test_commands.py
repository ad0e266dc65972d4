"""The commands, as far as they go without a broker."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedbus.cli import cluster_start
from fedbus.cli.commands import demo, job_submit, up
from fedbus.cli.main import app
from fedbus.cli.output import job_view
from fedbus.client.failures import JobRefused
from fedbus.client.job_reports import Submission
from fedbus.cluster.local import LocalCluster
from fedbus.errors import SettingsError
from fedbus.mqtt.mosquitto import free_port
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("FEDBUS_BROKER", raising=False)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (
            "up --framework pytorch",
            "'pytorch' is not one of 'keras', 'tflite', 'torch'. Did you mean 'torch'?",
        ),
        ("job list --phase finish", "'cancelled'. Did you mean 'finished'?"),
        ("logs --level nothing", "'nothing' is not one of 'debug', 'info', 'warning', 'error'."),
    ],
)
def test_a_choice_that_is_none_is_told_in_one_sentence(line: str, meant: str) -> None:
    """With those there are and the nearest of them, and no word of the library that reads them."""
    result = RUNNER.invoke(app, line.split(), env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert result.output.strip().endswith(meant)
    assert "Value error" not in result.output


@pytest.mark.parametrize(
    "line",
    [
        *("agents", "env", "job list", "job show j", "job watch j", "job cancel j", "down"),
        *("models list", "models show m", "models pull m", "privacy show m"),
    ],
)
def test_without_a_cluster_every_command_says_so(line: str) -> None:
    """Exit code 3, and how to get one."""
    result = RUNNER.invoke(app, line.split())
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("fedbus: no cluster runs ")


def test_a_key_holder_needs_a_cluster_too(tmp_path: Path) -> None:
    """It is looked for before a key is read: the model's version says which one is needed."""
    key = str(tmp_path / "secret.key")
    for line in (
        ("models", "release", "m", "--key", key),
        ("keys", "rotate", "m", "--old-key", key, "--new-key", key),
    ):
        result = RUNNER.invoke(app, line)
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr.startswith("fedbus: no cluster runs ")


def test_a_broker_that_is_not_there_is_named() -> None:
    """Exit code 3."""
    port = free_port()
    result = RUNNER.invoke(app, ["--broker", f"mqtt://127.0.0.1:{port}", "job", "list"])
    assert result.exit_code == 3
    assert f"127.0.0.1:{port}" in result.stderr


def test_a_broker_address_with_a_mistake_is_wrong_usage() -> None:
    """Exit code 2; the password is not shown."""
    result = RUNNER.invoke(app, ["--broker", "http://me:secret@h", "job", "list"])
    assert result.exit_code == 2
    assert "secret" not in result.output


@pytest.mark.parametrize(
    "line",
    ["job submit nowhere.json", "models push nowhere.json", "infer m nowhere.json", "simulate no"],
)
def test_a_missing_file_is_wrong_usage(line: str) -> None:
    """It is checked before any request."""
    result = RUNNER.invoke(app, ["--broker", "mqtt://127.0.0.1:1", *line.split()])
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_cluster_that_was_refused_leaves_nothing(tmp_path: Path) -> None:
    """Neither a home with a lock, nor one that is half made."""
    (tmp_path / "data").mkdir()
    line = ["up", "--home", str(tmp_path / "new" / "home"), "--data", str(tmp_path / "data")]
    result = RUNNER.invoke(app, line)
    assert (result.exit_code, result.stdout) == (2, "")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_cluster_that_had_to_kill_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, with who it was and where their logs are."""

    class Late(LocalCluster):
        async def stop(self) -> None:
            await super().stop()
            self.killed_at_stop = ("agent.1", "agent.3")

    async def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(up, "LocalCluster", Late)
    monkeypatch.setattr(up, "_begin", interrupted)
    result = RUNNER.invoke(app, ["up", "--home", str(tmp_path / "home")])
    assert (result.exit_code, result.stdout) == (1, "stopping …\n")
    assert "agent.1, agent.3 did not end within 15 s: killed; their logs are in" in result.stderr


def test_a_demo_that_ends_by_a_mistake_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ours, even; only what a sentence points to is kept."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def mistake(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(demo, "_demo", mistake)
    result = RUNNER.invoke(app, ["demo"])
    assert isinstance(result.exception, ZeroDivisionError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("framework", "extra"), [("torch", "torch"), ("tflite", "tflite"), ("keras", "tensorflow")]
)
def test_a_framework_that_is_missing_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, framework: str, extra: str
) -> None:
    """Before thirteen processes find out."""
    monkeypatch.setattr(up, "is_installed", lambda _: False)
    with pytest.raises(SettingsError, match=rf"pip install 'fedbus\[{extra}\]'"):
        up.check_framework(up.FrameworkChoice(framework))


def test_what_comes_next_can_be_typed_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make demo` activates nothing, and elsewhere than here there is no folder of examples."""
    command = tmp_path / "bin" / "fedbus"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(command), "demo"])
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(Path(__file__).parents[3])
    said = demo.what_next()
    assert f"  {command} up\n" in said
    assert f"  {command} job submit examples/digits/job.json --watch\n" in said
    monkeypatch.setenv("PATH", str(command.parent))
    monkeypatch.chdir(tmp_path)
    said = demo.what_next()
    assert "  fedbus up\n" in said
    (job,) = re.findall(r"fedbus job submit (\S+) --watch", said)
    assert json.loads(Path(job).read_text())["training_id"] == "digits-1"


def test_the_digits_model_comes_with_fedbus() -> None:
    """Its spec, its file, its first weights."""
    pytest.importorskip("tflite_runtime")
    packed = cluster_start.digits_model()
    spec = codec.from_json(ModelSpec, bytes(packed.blobs[packed.push.spec.digest]))
    assert spec.model == packed.push.model == "digits"
    assert len(packed.blobs) == 3


def test_a_job_is_simulated_without_a_broker(tmp_path: Path) -> None:
    """Rounds for people, one object for programs, weights on disk."""
    pytest.importorskip("tflite_runtime")
    pytest.importorskip("sklearn")
    job = {
        "training_id": "s",
        "model_name": "digits",
        "num_rounds": 2,
        "round": {"agents": 2},
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    line = ["simulate", str(tmp_path / "job.json"), "--json", "-o", str(tmp_path / "w.npz")]
    result = RUNNER.invoke(app, line)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["phase"], said["round"], len(said["rounds"])) == ("finished", 2, 2)
    assert (tmp_path / "w.npz").is_file()


def test_a_rough_simulation_reports_lost_and_repeated_messages(tmp_path: Path) -> None:
    """Else it looks like one without: the rounds are the same, which is what we promise."""
    pytest.importorskip("tflite_runtime")
    pytest.importorskip("sklearn")
    job = {"training_id": "s", "model_name": "digits", "num_rounds": 2, "round": {"agents": 2}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    line = ["simulate", str(tmp_path / "job.json"), "--rough"]
    result = RUNNER.invoke(app, line)
    assert result.exit_code == 0, result.output
    told = re.search(
        r"^of (\d+) messages (\d+) were lost, (\d+) repeated and (\d+) delayed$",
        result.stdout,
        re.MULTILINE,
    )
    assert told is not None
    sent, *struck = map(int, told.groups())
    assert sent > sum(struck)
    assert min(struck) > 0
    messages = json.loads(RUNNER.invoke(app, [*line, "--json"]).stdout)["messages"]
    assert list(messages) == ["sent", "lost", "repeated", "delayed"]
    assert [*messages.values()] == [sent, *struck]
    quiet = json.loads(RUNNER.invoke(app, [*line[:2], "--json"]).stdout)["messages"]
    assert [quiet[what] for what in ("lost", "repeated", "delayed")] == [0, 0, 0]


@pytest.mark.parametrize("kept", [True, False])
def test_a_scheduler_that_can_never_act_is_warned_of(tmp_path: Path, *, kept: bool) -> None:
    """On the other stream; the job runs all the same."""
    job = {
        "training_id": "s", "model_name": "digits", "num_rounds": 1,
        "plugins": {"trainer": "torch"}, "round": {"agents": 1, "keep_optimizer_state": kept},
        "scheduler_config": {"scheduler": "StepLR", "step_size": 10},
    }  # fmt: skip
    pytest.importorskip("torch")
    (tmp_path / "job.json").write_text(json.dumps(job))
    result = RUNNER.invoke(app, ["simulate", str(tmp_path / "job.json"), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["phase"]) == (0, "finished")
    warned = "warning: scheduler_config: steplr starts again in every round and acts after 10 epo"
    assert result.stderr.startswith(warned) is not kept


@pytest.mark.parametrize(("epochs", "warned"), [(1, True), (20, False)])
def test_a_job_is_submitted_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int, *, warned: bool
) -> None:
    """Once the controller has taken it."""
    job = {
        "training_id": "s", "model_name": "digits", "num_rounds": 1, "config": [{"epochs": epochs}],
        "scheduler_config": {"scheduler": "StepLR", "step_size": 10},
    }  # fmt: skip
    file = tmp_path / "job.json"
    file.write_text(json.dumps(job))

    async def taken(_: object, payload: bytes) -> Submission:
        assert payload == file.read_bytes()
        return Submission("s")

    monkeypatch.setattr(job_submit, "submit_job", taken)
    result = RUNNER.invoke(app, ["--broker", "mqtt://127.0.0.1:1", "job", "submit", str(file)])
    assert (result.exit_code, result.stdout[:15]) == (0, "accepted: job s")
    assert result.stderr.startswith("warning: scheduler_config: steplr") is warned


@pytest.mark.parametrize("to", ["nowhere/w.npz", ".", "best.h5", "best"])
def test_weights_that_could_not_be_kept_are_not_made(tmp_path: Path, to: str) -> None:
    """Folder and ending are looked at before hours of training, or before a model is fetched."""
    job = {"training_id": "s", "model_name": "digits", "num_rounds": 10_000}
    (tmp_path / "job.json").write_text(json.dumps(job))
    for line in (
        ["simulate", str(tmp_path / "job.json")],
        ["--broker", "mqtt://127.0.0.1:1", "models", "pull", "digits"],
    ):
        result = RUNNER.invoke(app, [*line, "-o", str(tmp_path / to)])
        assert (result.exit_code, result.stdout) == (2, "")
        assert str(tmp_path / to) in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]


def test_a_simulation_that_could_never_begin_is_refused(tmp_path: Path) -> None:
    """Its clock is simulated, so it would wait without end."""
    job = {"training_id": "s", "model_name": "digits", "num_rounds": 2, "round": {"agents": 8}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    result = RUNNER.invoke(app, ["simulate", str(tmp_path / "job.json"), "--agents", "2"])
    assert result.exit_code == 2
    assert "expected at least 6 agents, the job's round.quorum, got 2" in result.stderr


def test_a_simulated_jobs_faults_are_all_listed(tmp_path: Path) -> None:
    """As the controller would list them; it is a wrong file, since no service was asked."""
    (tmp_path / "job.json").write_text('{"training_id": "s", "model": "digits"}')
    line = ["simulate", str(tmp_path / "job.json")]
    result = RUNNER.invoke(app, line)
    assert (result.exit_code, result.stdout) == (2, "")
    head, *faults = result.stderr.splitlines()
    assert head == f"fedbus: {tmp_path}/job.json is refused, {len(faults)} faults:"
    assert {"  num_rounds: missing", "  model_name: missing"} <= set(faults)
    said = RUNNER.invoke(app, [*line, "--json"])
    assert (said.exit_code, said.stderr) == (2, result.stderr)
    answer = json.loads(said.stdout)
    assert answer["accepted"] is False
    assert len(answer["faults"]) == len(faults)
    assert {"key": "num_rounds", "problem": "missing", "hint": ""} in answer["faults"]


def test_what_the_simulated_controller_finds_is_a_wrong_file_too(tmp_path: Path) -> None:
    """It is well-formed, and names a plug-in that no agent has."""
    pytest.importorskip("tflite_runtime")
    pytest.importorskip("sklearn")
    job = {
        "training_id": "s", "model_name": "digits", "num_rounds": 1,
        "round": {"agents": 1}, "strategy": "nix",
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    result = RUNNER.invoke(app, ["simulate", str(tmp_path / "job.json"), "--json"])
    assert result.exit_code == 2
    (fault,) = json.loads(result.stdout)["faults"]
    assert fault["key"] == "strategy"
    assert "strategy: " in result.stderr


FAULTS = [
    {"key": "num_round", "problem": "unknown key", "hint": "did you mean 'num_rounds'?"},
    {"key": "", "problem": "too deep", "hint": ""},
]


@pytest.mark.parametrize("more", [[], ["--watch"]])
def test_a_refused_job_is_json_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    """On stdout, the controller's answer as it is; with --watch on one line, as states are."""
    (tmp_path / "job.json").write_text("{}")
    answer = {"accepted": False, "job": "", "faults": FAULTS}

    async def refuse(*_: object) -> None:
        raise JobRefused(answer)

    monkeypatch.setattr(job_submit, "submit_job", refuse)
    line = ["--broker", "mqtt://127.0.0.1:1", "job", "submit", str(tmp_path / "job.json"), *more]
    said = RUNNER.invoke(app, [*line, "--json"])
    assert (said.exit_code, json.loads(said.stdout)) == (4, answer)
    assert len(said.stdout.splitlines()) == 1 or not more
    assert said.stderr == RUNNER.invoke(app, line).stderr == (
        "fedbus: the controller refused the job, 2 faults:\n"
        "  num_round: unknown key; did you mean 'num_rounds'?\n"
        "  job file: too deep\n"
    )  # fmt: skip


def test_who_stops_watching_is_told_that_the_job_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And how to see it again, or to end it."""

    async def accept(*_: object) -> Submission:
        return Submission("s")

    async def interrupted(*_: object, **_more: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "job.json").write_text("{}")
    monkeypatch.setattr(job_submit, "submit_job", accept)
    monkeypatch.setattr(job_view, "watch", interrupted)
    line = ["--broker", "mqtt://127.0.0.1:1", "job"]
    for words in (["submit", str(tmp_path / "job.json"), "--watch"], ["watch", "s"]):
        left = RUNNER.invoke(app, [*line, *words])
        assert left.exit_code == 130
        assert left.stderr == (
            "fedbus: job s continues; `fedbus job watch s` shows it, `fedbus job cancel s` "
            "cancels it\n"
        )


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("d:1", "no sampler 'd'; expected all-inclusive, dirichlet, distribution, iid, "),
        ("dirichlet:0", "alpha: expected a number above 0, got '0'"),
        ("all-inclusive:3", "all-inclusive takes no '3'; its options: none"),
    ],
)
def test_an_unknown_split_is_wrong_usage(tmp_path: Path, split: str, sentence: str) -> None:
    """The sentence says what belongs there, before anything is started."""
    job = {"training_id": "s", "model_name": "digits", "num_rounds": 2}
    (tmp_path / "job.json").write_text(json.dumps(job))
    result = RUNNER.invoke(app, ["simulate", str(tmp_path / "job.json"), "--split", split])
    assert result.exit_code == 2
    assert sentence in result.stderr
    result = RUNNER.invoke(app, ["up", "--home", str(tmp_path / "home"), "--split", split])
    assert (result.exit_code, sentence in result.stderr) == (2, True), result.output
    assert not (tmp_path / "home").exists()
    line = ["simulate", str(tmp_path / "job.json"), "--split", "iid", "--data", "."]
    assert "--split partitions the digits" in RUNNER.invoke(app, line).stderr


def test_a_fleet_of_two_hundred_is_simulated_in_seconds(tmp_path: Path) -> None:
    """Two rounds of the job that docs/plugins.md shows, on another split."""
    pytest.importorskip("tflite_runtime")
    pytest.importorskip("sklearn")
    examples = Path(__file__).parents[3] / "examples" / "digits"
    job = json.loads((examples / "job-200.json").read_bytes())
    (tmp_path / "job.json").write_text(json.dumps({**job, "num_rounds": 2}))
    line = [
        "simulate",
        str(tmp_path / "job.json"),
        "--agents",
        "200",
        "--split",
        "mixed:80:alpha=0.5",
    ]
    result = RUNNER.invoke(app, line)
    assert result.exit_code == 0, result.output
    assert "100 agents" in result.stdout
    assert "job digits-200 finished: all 2 rounds are done" in result.stdout
