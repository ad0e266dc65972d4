"""Choice of a cluster for a command, list and end of clusters, and their logins."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedbus.cli.commands import clusters, up
from fedbus.cli.commands.clusters import mosquitto_options
from fedbus.cli.exit_codes import Interrupted
from fedbus.cli.main import app
from fedbus.cli.output import display
from fedbus.cluster import registry
from fedbus.cluster.registry import HomeLock, RunningCluster
from fedbus.mqtt.bus import BrokerAddress

RUNNER = CliRunner()
NOBODY = 2**22 + 1
"""No process has this id, so a signal to it ends none."""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("FEDBUS_BROKER", raising=False)


def told(home: Path, port: int, started: float) -> RunningCluster:
    """What a cluster says of itself."""
    return RunningCluster(
        home=str(home),
        pid=NOBODY,
        broker=f"mqtt://user.cli:pw{port}@127.0.0.1:{port}",
        started=started,
        processes={"broker": 1, "agent.1": 2, "agent.2": 3},
    )


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The homes of two clusters that run; the second is the newer one."""
    one, other = tmp_path / "one", tmp_path / "two"
    with HomeLock(one) as first, HomeLock(other) as second:
        first.publish(told(one, 1884, started=1_700_000_000.0))
        second.publish(told(other, 1885, started=1_700_000_060.0))
        yield one, other


def test_with_several_clusters_a_command_names_the_one_it_uses(two: tuple[Path, Path]) -> None:
    """On the other stream, so that a program reads what it always read."""
    said = RUNNER.invoke(app, ["env", "--json"])
    assert json.loads(said.stdout)["port"] == 1885
    assert said.stderr == (
        f"note: 2 clusters run here; this command uses {two[1]}, the newest. "
        f"--cluster DIR chooses another: {two[0]}\n"
    )


@pytest.mark.parametrize("line", ["--cluster {} env", "env --cluster {}", "env --cluster={}"])
def test_a_cluster_that_is_named_is_not_remarked_upon(two: tuple[Path, Path], line: str) -> None:
    """The option may stand on either side of the command."""
    said = RUNNER.invoke(app, line.format(two[0]).split())
    assert said.stdout == "export FEDBUS_BROKER=mqtt://user.cli:pw1884@127.0.0.1:1884\n"
    assert said.stderr == ""


def test_a_cluster_that_does_not_run_is_refused_with_those_that_do(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    """A user who mistypes a folder sees the right one."""
    for command in ("env", "down", "agents"):
        said = RUNNER.invoke(app, [command, "--cluster", str(tmp_path / "none")])
        assert said.exit_code == 3
        assert f"those that run here: {two[1]}, {two[0]}" in said.stderr


def test_down_does_not_choose_among_clusters(two: tuple[Path, Path]) -> None:
    """It once ended the newest one, with its jobs and perhaps another user's work."""
    said = RUNNER.invoke(app, ["down"])
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr == (
        "fedbus: 2 clusters run here; name the one to end:\n"
        f"  fedbus down --cluster {two[1]}\n  fedbus down --cluster {two[0]}\n"
    )
    assert len(registry.running()) == 2


@pytest.mark.parametrize("option", ["--cluster", "--home"])
def test_down_ends_the_cluster_that_is_named(
    two: tuple[Path, Path], option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the option of every command, or the older word for it."""
    ended = []
    monkeypatch.setattr(os, "kill", lambda pid, _: ended.append(pid))

    async def gone(home: Path) -> bool:
        ended.append(home)
        return True

    monkeypatch.setattr(clusters, "_wait_until_ended", gone)
    said = RUNNER.invoke(app, ["down", option, str(two[0])])
    assert said.stdout == f"the cluster in {two[0]} has ended\n"
    assert ended == [NOBODY, two[0]]


@pytest.mark.parametrize(
    ("answer", "ended"), [("2", "one"), ("1", "two"), ("", ""), ("3", ""), ("x", "")]
)
def test_on_a_terminal_down_asks(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, answer: str, ended: str
) -> None:
    """Nothing, or no number of the list, ends none."""
    del two

    class Terminal:
        def isatty(self) -> bool:
            return True

    async def gone(home: Path) -> bool:
        return home.name == ended

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr("builtins.input", lambda _: answer)
    monkeypatch.setattr(clusters, "_wait_until_ended", gone)
    lines: list[str] = []
    monkeypatch.setattr(display, "show", lines.append)
    monkeypatch.setattr(display, "print_verbatim", lines.append)
    if ended:
        clusters.down(_Context())  # type: ignore[arg-type]
        assert lines[-1].endswith(f"/{ended} has ended")
    else:
        with pytest.raises(Interrupted, match="no cluster was ended"):
            clusters.down(_Context())  # type: ignore[arg-type]
    assert "  2  " in lines[1]
    assert "2 agents, 127.0.0.1:1884" in lines[1]


class _Context:
    params: dict[str, object] = {}  # noqa: RUF012 - nothing was given

    def find_root(self) -> "_Context":
        return self


def test_two_words_for_two_clusters_are_refused(tmp_path: Path) -> None:
    """`--home` of `up` and `down` is `--cluster`."""
    for command in ("up", "down"):
        line = [command, "--cluster", str(tmp_path / "a"), "--home", str(tmp_path / "b")]
        said = RUNNER.invoke(app, line)
        assert said.exit_code == 2
        assert "give one of the two" in said.stderr


def test_clusters_are_listed(two: tuple[Path, Path]) -> None:
    """The newest first, without a password."""
    said = RUNNER.invoke(app, ["clusters"])
    header, first, second = said.stdout.splitlines()
    assert header.split("\t") == ["CLUSTER", "BROKER", "AGENTS", "STARTED", "PROCESS"]
    assert first.split("\t")[:3] == [str(two[1]), "127.0.0.1:1885", "2"]
    assert second.split("\t")[0] == str(two[0])
    listed = json.loads(RUNNER.invoke(app, ["clusters", "--json"]).stdout)
    assert [one["cluster"] for one in listed] == [str(two[1]), str(two[0])]
    assert listed[1]["started"] == "2023-11-14T22:13:20+00:00"
    assert listed[0]["processes"]["agent.2"] == 3
    assert "pw188" not in said.stdout + json.dumps(listed)


def test_without_a_cluster_the_list_says_how_one_is_started() -> None:
    """And for programs it is empty."""
    assert "`fedbus up` starts one" in RUNNER.invoke(app, ["clusters"]).stdout
    assert json.loads(RUNNER.invoke(app, ["clusters", "--json"]).stdout) == []


def test_recipes_name_their_cluster_only_beside_another(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who copies them means the cluster that printed them."""
    assert f"  fedbus --cluster {two[0]} agents\n" in up.recipes(two[0])
    assert f"$(fedbus --cluster {two[0]} env --mosquitto)" in up.recipes(two[0])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    assert "--cluster" not in up.recipes(two[0])
    assert "  mosquitto_sub $(fedbus env --mosquitto) -v -t " in up.recipes(two[0])


# ── the way there ─────────────────────────────────────────────────────────────────────────────────

PLAIN = ["-V", "5", "-h", "h", "-p", "1884", "-u", "user.me", "-P", "pw-_9"]
AWKWARD = "a b'c\"d$e*f%g\\h?é"


def in_a_shell(line: str, broker: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell that has a `fedbus`, and a `show` that prints its arguments as JSON."""
    programs = (
        f'fedbus() {{ {shlex.quote(sys.executable)} -m fedbus.cli "$@"; }}; '
        f"show() {{ {shlex.quote(sys.executable)} -c "
        "'import json, sys; print(json.dumps(sys.argv[1:]))' \"$@\"; }; "
    )
    return subprocess.run(
        ["/bin/sh", "-c", programs + line],
        env={**os.environ, "FEDBUS_BROKER": broker, "COLUMNS": "40"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def test_options_for_mosquitto_are_words_of_a_command_line() -> None:
    """Of a plain broker, one with TLS, one that needs no login."""
    plain = BrokerAddress("h", 1884, "user.me", "pw-_9")
    assert mosquitto_options(plain) == [
        "-V",
        "5",
        "-h",
        "h",
        "-p",
        "1884",
        "-u",
        "user.me",
        "-P",
        "pw-_9",
    ]
    assert mosquitto_options(BrokerAddress("h")) == ["-V", "5", "-h", "h", "-p", "1883"]
    tls = BrokerAddress("h", 8883, "user.me", tls=True)
    assert mosquitto_options(tls)[-3:] == ["-u", "user.me", "--tls-use-os-certs"]
    own = BrokerAddress("h", 8883, tls=True, ca_file=Path("/etc/my ca.pem"))
    assert mosquitto_options(own)[-2:] == ["--cafile", "/etc/my ca.pem"]


def test_a_shell_reads_the_options_as_they_are_meant() -> None:
    """At 40 columns as in a pipe; in `$(…)` where no character is special, in `eval` with any."""
    done = in_a_shell("show $(fedbus env --mosquitto) -t x", "mqtt://user.me:pw-_9@h:1884")
    assert json.loads(done.stdout) == [
        "-V",
        "5",
        "-h",
        "h",
        "-p",
        "1884",
        "-u",
        "user.me",
        "-P",
        "pw-_9",
        "-t",
        "x",
    ]
    assert done.stderr == ""
    awkward = BrokerAddress("h", 1884, "user.me", AWKWARD).url
    done = in_a_shell('eval "show $(fedbus env --mosquitto) -t x"', awkward)
    assert json.loads(done.stdout)[8:10] == ["-P", AWKWARD]
    assert 'eval "mosquitto_sub $(fedbus env --mosquitto) -t …"' in done.stderr
    done = in_a_shell("fedbus env --mosquitto --json", awkward)
    assert json.loads(done.stdout)[8:10] == ["-P", AWKWARD]
    assert done.stderr == ""


def test_a_shell_that_evaluates_env_has_the_login() -> None:
    """Whatever its password holds."""
    awkward = BrokerAddress("broker.example", 1884, "user.me", AWKWARD).url
    done = in_a_shell('eval "$(fedbus env)"; show "$FEDBUS_BROKER"', awkward)
    assert BrokerAddress.parse(json.loads(done.stdout)[0]).password == AWKWARD


def test_env_describes_the_login_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Word by word, for clients with a window of settings; the root too, where it is another."""
    monkeypatch.setenv("FEDBUS_ROOT", "plant/7")
    at = ["--broker", "mqtts://user.me:a%27b@h?ca_file=/ca.pem"]
    assert json.loads(RUNNER.invoke(app, [*at, "env", "--json"]).stdout) == {
        "FEDBUS_BROKER": "mqtts://user.me:a%27b@h:8883?ca_file=/ca.pem",
        "FEDBUS_ROOT": "plant/7",
        "host": "h",
        "port": 8883,
        "username": "user.me",
        "password": "a'b",
        "tls": True,
        "ca_file": "/ca.pem",
    }
    assert RUNNER.invoke(app, [*at, "env"]).stdout.splitlines() == [
        "export FEDBUS_BROKER='mqtts://user.me:a%27b@h:8883?ca_file=/ca.pem'",
        "export FEDBUS_ROOT=plant/7",
    ]
