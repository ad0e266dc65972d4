"""`docs/first-device.md`, its systemd unit and its settings, followed step by step."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from fedbus.mqtt.mosquitto import free_port
from fedbus.runtime.known_settings import KNOWN
from fedbus.runtime.settings import settings_from
from fedbus_edge_agent.settings import AgentSettings
from tests.page_commands import ROOT, commands_of

DEVICE = ROOT / "examples" / "device"
UNIT = DEVICE / "fedbus-agent@.service"
PAGE = (ROOT / "docs" / "first-device.md").read_text(encoding="utf-8")
SCRIPT_SECONDS = 240


def of_unit(key: str, instance: str = "pi-7") -> list[str]:
    """Return the values of a key of the unit, for one of its instances."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    found = [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]
    return [value.replace("%i", instance) for value in found]


def environment_of(instance: str, places: dict[str, str]) -> dict[str, str]:
    """Return the environment of an instance; `places` maps its folders to those of the test."""
    (file,) = of_unit("EnvironmentFile", instance)
    assert file == f"/etc/fedbus/{instance}.env"
    lines = (DEVICE / f"{instance}.env").read_text(encoding="utf-8").splitlines()
    lines = [*of_unit("Environment", instance), *(one for one in lines if one[:1] not in ("#", ""))]
    environment = dict(one.split("=", 1) for one in lines)
    for name, value in environment.items():
        for there, here in places.items():
            value = value.replace(there, here)  # noqa: PLW2901 - each place in turn
        environment[name] = value
    return environment


@pytest.mark.parametrize("instance", ["pi-7", "evaluator"])
def test_the_settings_of_the_unit_are_settings(instance: str, tmp_path: Path) -> None:
    """Each name is known, each value is valid, and the login is the agent's name."""
    environment = environment_of(instance, {"/etc/fedbus": str(tmp_path)})
    (tmp_path / f"{instance}.password").write_text("secret\n")
    assert set(environment) <= KNOWN
    settings = settings_from(environment, AgentSettings)
    assert settings.node("agent") == f"agent.{instance}"
    assert settings.address().password == "secret"
    assert settings.home == Path(f"/var/lib/fedbus/{instance}")
    assert of_unit("StateDirectory", instance) == [f"fedbus/{instance}"]


def test_the_unit_starts_the_agent_that_the_page_installs() -> None:
    """Its module exists, and so do the folders and extras of the page's `pip install`."""
    (start,) = of_unit("ExecStart")
    python, *words = start.split()
    assert python == "/opt/fedbus/bin/python"
    assert words[0] == "-m"
    assert find_spec(words[1]) is not None
    (line,) = re.findall(r"^# /opt/fedbus/bin/pip install (.+)$", PAGE, re.MULTILINE)
    places = [word for word in shlex.split(line) if word.startswith("./")]
    assert {place.partition("[")[0] for place in places} == {
        "./libs/fedbus",
        "./services/edge_agent",
    }
    for place in places:
        folder, _, extra = place.rstrip("]").partition("[")
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        assert not extra or extra in project["optional-dependencies"]


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """Without a warning, and with an exposure of at most 2.0."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "fedbus-agent@.service"
    unit.write_text(UNIT.read_text().replace("/opt/fedbus/bin/python", sys.executable))
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(done.stderr)
    assert [line for line in done.stderr.splitlines() if "fedbus" in line] == []
    judged = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" not in judged.stderr:
        assert judged.returncode == 0, judged.stdout[-300:]


def test_every_file_that_the_page_names_exists() -> None:
    """Targets of links, and files that the page installs."""
    linked = re.findall(r"\]\(([^)#]+)", PAGE)
    installed = re.findall(r"^# install .* (examples/\S+) ", PAGE, re.MULTILINE)
    assert {path for path in linked if not (ROOT / "docs" / path).exists()} == set()
    assert {path for path in installed if not (ROOT / path).exists()} == set()
    assert len(installed) == 2


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a new user's shell."""
    told = {name: value for name, value in os.environ.items() if not name.startswith("FEDBUS_")}
    path = f"{Path(sys.executable).parent}:/usr/sbin:{os.environ['PATH']}"
    return {**told, "PATH": path, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}


def run_all(script: str, environ: dict[str, str], said: Path) -> "subprocess.Popen[bytes]":
    """Run lines in one shell, one after the other; processes they start keep running."""
    with said.open("wb") as out:
        return subprocess.Popen(
            ["/bin/sh", "-ec", script],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for(text: str, log: Path, seconds: float = 30) -> None:
    """Wait until a log has a line."""
    subprocess.run(
        ["/bin/sh", "-c", f"until grep -q {shlex.quote(text)} {log} 2>&1; do sleep 0.2; done"],
        timeout=seconds,
        check=True,
    )


@pytest.mark.system
def test_the_page_runs_as_printed(tmp_path: Path, environ: dict[str, str]) -> None:
    """Except the port: broker, services, a device, an evaluator, a job; then the unit's agent."""
    pytest.importorskip("tflite_runtime")
    pytest.importorskip("sklearn")
    port = str(free_port())
    script = (
        "\n".join(commands_of("first-device.md"))
        .replace("1883", port)
        .replace("fedbus accounts $FOLDER/broker", f"fedbus accounts $FOLDER/broker --port {port}")
    )
    fleet, said = tmp_path / "fleet", tmp_path / "said"
    shell = run_all(script, environ, said)
    try:
        assert shell.wait(SCRIPT_SECONDS) == 0, said.read_text()
        text = said.read_text(encoding="utf-8")
        rows = [line.split("\t") for line in text.splitlines()]
        listed = {row[0]: [row[1], row[3]] for row in rows if row[0].startswith("agent.")}
        assert listed["agent.pi-7"] == ["online", "train"]
        assert listed["agent.evaluator"] == ["online", "evaluate"]
        assert "job digits-1 finished: accuracy 0.9" in text
        # The same device again, as systemd starts it.
        etc, var = tmp_path / "etc", tmp_path / "var"
        (var / "data").mkdir(parents=True)
        etc.mkdir()
        shutil.copy(fleet / "data" / "agent.1.npz", var / "data" / "pi-7.npz")
        shutil.copy(fleet / "broker" / "logins" / "agent.pi-7", etc / "pi-7.password")
        places = {"/etc/fedbus": str(etc), "/var/lib/fedbus": str(var), "1883": port}
        told = environment_of("pi-7", {**places, "broker.example": "127.0.0.1"})
        words = of_unit("ExecStart")[0].replace("/opt/fedbus/bin/python", sys.executable)
        unit = run_all(f"exec {words}", {**environ, **told}, tmp_path / "unit.log")
        try:
            wait_for("bus_connected", tmp_path / "unit.log")
            assert '"node": "agent.pi-7"' in (tmp_path / "unit.log").read_text()
        finally:
            unit.send_signal(signal.SIGTERM)
            unit.wait(20)
    finally:
        os.killpg(shell.pid, signal.SIGTERM)


@pytest.mark.skipif(
    not (shutil.which("mosquitto_pub") and shutil.which("mosquitto")), reason="needs Mosquitto"
)
def test_a_removed_device_is_no_longer_listed(tmp_path: Path, environ: dict[str, str]) -> None:
    """The commands of the page, without systemd, at a free port."""
    port = str(free_port())
    section = PAGE.split("## Taking a device away\n")[1].split("\n## ")[0]
    stop, *lines = re.findall(r"^# (.+)$", section, re.MULTILINE)
    assert stop.startswith("systemctl disable --now ")
    away = "\n".join(lines).replace("mosquitto_pub ", f"mosquitto_pub -p {port} ")
    me = f"--broker mqtt://user.me:$(cat $FOLDER/broker/logins/user.me)@127.0.0.1:{port}"
    script = f"""
fedbus accounts $FOLDER/broker agent.pi-7 user.me --host 127.0.0.1 --port {port}
mosquitto -c $FOLDER/broker/mosquitto.conf & broker=$!
trap 'kill $broker' EXIT
sleep 1
mosquitto_pub -h 127.0.0.1 -p {port} -i agent.pi-7 -u agent.pi-7 \
    -P "$(cat $FOLDER/broker/logins/agent.pi-7)" -t fedbus/v1/nodes/agent.pi-7/state -r \
    -m '{{"node": "agent.pi-7", "incarnation": 1, "online": false}}'
echo before; fedbus {me} agents
{away.replace("$(pidof mosquitto)", "$broker")}
echo after; fedbus {me} agents
"""
    said = tmp_path / "said"
    places = {"FOLDER": str(tmp_path / "fleet"), "BROKER": "127.0.0.1"}
    shell = run_all(script, {**environ, **places}, said)
    try:
        assert shell.wait(SCRIPT_SECONDS) == 0, said.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
    before, after = said.read_text(encoding="utf-8").split("\nbefore\n")[1].split("\nafter\n")
    assert "agent.pi-7\toffline" in before
    assert "no agent yet" in after
