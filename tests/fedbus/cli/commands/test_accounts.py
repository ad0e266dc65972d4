"""`fedbus accounts`: the accounts and rules of a fleet's broker."""

import asyncio
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedbus.cli.main import app
from fedbus.errors import BusError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.mosquitto import free_port, mosquitto
from fedbus.mqtt.mosquitto_config import BrokerConfig, acl_file, names_in, password_file

RUNNER = CliRunner()


def make(folder: Path, *words: str, code: int = 0) -> str:
    """Run the command; returns what it says."""
    result = RUNNER.invoke(app, ["accounts", str(folder), *words])
    assert result.exit_code == code, result.output
    return result.output


def test_a_folder_is_made_for_a_broker_with_a_login_for_each_node(tmp_path: Path) -> None:
    """With all that `mosquitto -c` needs, and no password where others can read it."""
    folder = tmp_path / "b"
    said = make(folder, "controller.1", "agent.pi-7", "--port", "1999", "--host", "127.0.0.1")
    assert f"  mosquitto -c {folder / 'mosquitto.conf'}\n" in said
    assert f"the password of agent.pi-7: {folder / 'logins' / 'agent.pi-7'}\n" in said
    assert (folder / "acl").read_text() == acl_file(["controller.1", "agent.pi-7"])
    assert names_in((folder / "passwords").read_text()) == ["controller.1", "agent.pi-7"]
    config = (folder / "mosquitto.conf").read_text()
    assert "listener 1999 127.0.0.1\n" in config
    assert set(BrokerConfig().text().splitlines()) - set(config.splitlines()) <= {
        "listener 1883",
        "password_file /mosquitto/config/passwords",
        "acl_file /mosquitto/config/acl",
        "persistence_location /mosquitto/data/",
    }
    for name in ("passwords", "acl", "logins/agent.pi-7"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_who_is_there_keeps_their_password_and_who_goes_loses_it(tmp_path: Path) -> None:
    """A second call with the same name changes nothing; the configuration is a person's by then."""
    make(tmp_path, "agent.a", "agent.b")
    (tmp_path / "mosquitto.conf").write_text("# mine\n")
    before = (tmp_path / "passwords").read_text()
    said = make(tmp_path, "agent.b", "agent.c", "agent.c")
    assert (tmp_path / "passwords").read_text().startswith(before)
    assert "password of agent.b" not in said
    assert "kill -HUP" in said
    make(tmp_path, "agent.a", "--remove")
    assert names_in((tmp_path / "passwords").read_text()) == ["agent.b", "agent.c"]
    assert (tmp_path / "acl").read_text() == acl_file(["agent.b", "agent.c"])
    assert sorted(one.name for one in (tmp_path / "logins").iterdir()) == ["agent.b", "agent.c"]
    assert (tmp_path / "mosquitto.conf").read_text() == "# mine\n"


@pytest.mark.parametrize("name", ["pi-7", "device.pi-7", "agent.", "agent.a/b", "agent.a b", "#"])
def test_a_name_that_no_node_can_have_is_refused(tmp_path: Path, name: str) -> None:
    """Before anything is written: the broker would let it in and drop all it says."""
    assert "expected an account ROLE.NAME" in make(tmp_path / "b", "agent.a", name, code=2)
    assert not (tmp_path / "b").exists()


def test_an_account_that_is_not_there_is_not_taken_away(tmp_path: Path) -> None:
    """Most likely it is misspelt, and the one that is meant would stay."""
    make(tmp_path, "agent.a")
    assert "no account agent.b" in make(tmp_path, "agent.b", "--remove", code=2)


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("pattern read a/%u\n", 1),
        ("topic read open/#\n", 1),
        ("user ann\ntopic read a/#\n", 1),
        ("user agent.gone\ntopic read a/#\n", 1),
    ],
)
def test_rules_of_a_person_are_not_lost(tmp_path: Path, rule: str, line: int) -> None:
    """The file is generated from the accounts, so such a rule is rejected with its line."""
    (tmp_path / "acl").write_text(rule)
    (tmp_path / "passwords").write_text(password_file({"ann": "pw"}))
    assert f"line {line} is a rule" in make(tmp_path, "agent.a", code=2)
    assert (tmp_path / "acl").read_text() == rule


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "file").write_text("")
    assert "Not a directory" in make(tmp_path / "file" / "b", "agent.a", code=1)


async def test_a_broker_with_the_accounts_accepts_their_nodes_only(tmp_path: Path) -> None:
    """The files are Mosquitto's own, and each password is right to the last character."""
    port = free_port()
    make(tmp_path / "b", "agent.a", "user.me", "--port", str(port), "--host", "127.0.0.1")

    password = (tmp_path / "b" / "logins" / "agent.a").read_text()
    conf = str(tmp_path / "b" / "mosquitto.conf")
    broker = await asyncio.create_subprocess_exec(mosquitto(), "-c", conf)
    try:
        at = BrokerAddress("127.0.0.1", port, "agent.a", password)
        await _up(port)
        async with mqtt.connect(at, name="agent.a"):
            pass
        with pytest.raises(BusError, match=r"login of agent\.a refused"):
            async with mqtt.connect(at.with_password("x"), name="agent.a"):
                pass
    finally:
        broker.terminate()
        await broker.wait()


async def _up(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
