"""`fedbus logs`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedbus.cli.main import app
from fedbus.cluster.registry import HomeLock, RunningCluster
from tests.fedbus.cli.output.test_log_lines import JOB, LOST
from tests.killed_process import killed_at_exit

RUNNER = CliRunner()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a cluster that has ended."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    home = tmp_path / "state" / "fedbus" / "local"
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "controller.1.log").write_text(f"{JOB}\n{LOST}\nhalf a li")
    (home / "logs" / "agent.1.log").write_text("first words\n")
    return home


def test_the_logs_of_a_cluster_are_shown_when_it_has_ended(home: Path) -> None:
    """It is then that one wants to know why."""
    said = RUNNER.invoke(app, ["logs"])
    assert [line.split("  ")[1] for line in said.stdout.splitlines()] == [
        *("first words", "controller.1", "controller.1")
    ]
    assert RUNNER.invoke(app, ["logs", "--json", "-n", "1"]).stdout == f"{LOST}\n"
    assert RUNNER.invoke(app, ["logs", "--cluster", str(home), "agent.1"]).stdout == (
        "agent.1  first words\n"
    )


def test_a_node_without_a_log_is_refused_with_those_that_have_one(home: Path) -> None:
    """Misspelt, most likely."""
    said = RUNNER.invoke(app, ["logs", "agent.2"])
    assert said.exit_code == 4
    assert "no log of agent.2; there are agent.1, controller.1" in said.stderr
    assert home.exists()


def test_where_there_are_no_logs_it_is_said(home: Path, tmp_path: Path) -> None:
    """Of a cluster that is named, and of none."""
    del home
    said = RUNNER.invoke(app, ["logs", "--cluster", str(tmp_path / "none")])
    assert (said.exit_code, said.stdout) == (3, "")
    assert "no cluster runs in" in said.stderr


def test_of_several_clusters_it_says_whose_logs_these_are(home: Path, tmp_path: Path) -> None:
    """The newest one's, as for every command."""
    new = tmp_path / "new"
    with HomeLock(home) as one, HomeLock(new) as two:
        (new / "logs").mkdir()
        (new / "logs" / "agent.9.log").write_text(f"{LOST}\n")
        for claim, started in ((one, 1.0), (two, 2.0)):
            at = "mqtt://127.0.0.1:1"
            claim.publish(RunningCluster(home=str(claim.home), pid=1, broker=at, started=started))
        said = RUNNER.invoke(app, ["logs"])
    assert "  agent.9  WARNING  bus_lost" in said.stdout
    assert f"note: 2 clusters run here; this command uses {new}, the newest" in said.stderr


def test_a_log_is_followed_into_a_pipe(home: Path) -> None:
    """Whole lines, as soon as they are written; a truncated log is read from its start."""
    log = home / "logs" / "controller.1.log"
    line = [sys.executable, "-m", "fedbus.cli", "logs", "--follow", "-n", "1", "--json"]
    with killed_at_exit(subprocess.Popen(line, stdout=subprocess.PIPE, text=True)) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == f"{LOST}\n"
        with log.open("a") as file:
            file.write("ne\n")
        first = following.stdout.readline()
        log.write_text(f"{JOB}\n")
        second = following.stdout.readline()
    assert first == "half a line\n"
    assert json.loads(second)["event"] == "round_finished"
