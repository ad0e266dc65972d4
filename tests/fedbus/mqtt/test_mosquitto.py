"""A broker of our own: its files, its rules, its life."""

import asyncio
import base64
import gc
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from fedbus.errors import BusError, SettingsError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt import mosquitto as module
from fedbus.mqtt.bus import BrokerAddress, Packet
from fedbus.mqtt.mosquitto import LocalBroker, PortTaken, free_port, mosquitto
from fedbus.mqtt.mosquitto_config import BrokerConfig, acl_file, new_password, password_line

ROOT = Path(__file__).parents[3]
SECONDS = 10.0
EXAMPLES = (
    *("controller.1", "collector.1", "repository.1", "inference.1"),
    *("agent.pi-1", "agent.pi-2", "user.cli"),
)

# ── files ──────────────────────────────────────────────────────────────────────────────────────


def test_deployed_configuration_is_the_one_we_start_from() -> None:
    """`mosquitto/` holds what the functions write."""
    folder = ROOT / "mosquitto"
    assert (folder / "mosquitto.conf").read_text(encoding="utf-8") == BrokerConfig().text()
    assert (folder / "acl.example").read_text(encoding="utf-8") == acl_file(EXAMPLES)


def test_open_broker_is_for_this_machine_only() -> None:
    """A broker without passwords is not put on the network by accident."""
    assert "allow_anonymous true" in BrokerConfig(host="127.0.0.1", open_profile=True).text()
    for host in ("", "0.0.0.0", "192.168.1.1"):  # noqa: S104 - that is what is refused
        with pytest.raises(SettingsError, match="loopback only"):
            BrokerConfig(host=host, open_profile=True).text()


def test_password_is_hashed_as_mosquitto_passwd_does(tmp_path: Path) -> None:
    """With its salt, we write its line."""
    file = tmp_path / "passwords"
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("mosquitto_passwd is not installed")
    subprocess.run(
        [tool, "-b", "-c", str(file), "agent.a", "pä ss"], check=True, capture_output=True
    )
    theirs = file.read_text(encoding="utf-8")
    salt = base64.b64decode(theirs.split("$")[3])
    assert password_line("agent.a", "pä ss", salt) == theirs


def test_every_password_has_its_own_salt() -> None:
    """Equal passwords do not look equal."""
    assert password_line("a", "same") != password_line("a", "same")
    assert len({new_password() for _ in range(100)}) == 100


@pytest.mark.parametrize("name", ["", "a:b", "a\nuser b", "a b", "+", "#", "x" * 200])
def test_name_that_would_break_a_file_is_refused(name: str) -> None:
    """No name smuggles in a line."""
    with pytest.raises(SettingsError, match="user name"):
        password_line(name, "x")
    with pytest.raises(SettingsError, match="user name"):
        acl_file([name], lambda _: [])


@pytest.mark.parametrize("rule", [("read", "a\ntopic write #"), ("readwrite", "a"), ("write", "")])
def test_rule_that_would_break_the_file_is_refused(rule: tuple[str, str]) -> None:
    """No topic either."""
    with pytest.raises(SettingsError, match=r"access rule of agent\.a"):
        acl_file(["agent.a"], lambda _: [rule])


def test_rules_are_written_per_user() -> None:
    """The format Mosquitto reads."""
    rules = {"a": [("write", "x/a/#")], "b": [("read", "x/+/b"), ("write", "y z")]}
    assert acl_file(rules, rules.__getitem__) == (
        "user a\ntopic write x/a/#\n\nuser b\ntopic read x/+/b\ntopic write y z\n"
    )


def test_secrets_are_for_their_owner_only(broker: LocalBroker) -> None:
    """Passwords and rules are not for other users of the machine."""
    for name in ("passwords", "acl", "mosquitto.conf"):
        assert stat.S_IMODE((broker.home / name).stat().st_mode) == 0o600
    assert "secret of" not in (broker.home / "passwords").read_text(encoding="utf-8")


# ── access ─────────────────────────────────────────────────────────────────────────────────────


async def heard(listener: BrokerAddress, topic: str, writer: BrokerAddress, to: str) -> list[str]:
    """Return which topics `listener` hears at `topic` when `writer` writes to `to`."""
    me, name = listener.username or "", writer.username or ""
    end = f"fedbus/v1/link/{me}/{me}/end"
    async with (
        mqtt.connect(listener, name=me, listen=[topic, f"fedbus/v1/link/+/{me}/#"]) as bus,
        mqtt.connect(writer, name=name, listen=[f"fedbus/v1/link/+/{name}/#"]) as other,
        asyncio.timeout(SECONDS),
    ):
        await other.publish(Packet(to, b""))
        await other.publish(Packet(f"fedbus/v1/link/{name}/{name}/echo", b""))
        await other.receive()
        await bus.publish(Packet(end, b""))
        topics: list[str] = []
        async for packet in bus:
            if packet.topic == end:
                return topics
            topics.append(packet.topic)
    raise AssertionError


async def test_node_writes_in_its_own_name(broker: LocalBroker) -> None:
    """The generated rules let an agent write to a collector."""
    to = "fedbus/v1/link/agent.a/collector.1/offer"
    collector, agent = broker.address("collector.1"), broker.address("agent.a")
    assert await heard(collector, "fedbus/v1/link/+/collector.1/#", agent, to) == [to]


@pytest.mark.parametrize(
    "topic",
    [
        "fedbus/v1/link/agent.b/collector.1/offer",
        "fedbus/v1/nodes/agent.b/state",
        "fedbus/v1/models/digits/latest",
        "fedbus/v1/submit",
    ],
)
async def test_node_does_not_write_in_the_name_of_another(broker: LocalBroker, topic: str) -> None:
    """Its packet goes nowhere, and its connection goes on."""
    for listener in ("collector.1", "controller.1", "user.cli"):
        assert await heard(broker.address(listener), topic, broker.address("agent.a"), topic) == []


async def test_node_does_not_hear_what_is_for_another(broker: LocalBroker) -> None:
    """A subscription that the rules do not cover is granted and stays silent."""
    to = "fedbus/v1/link/agent.a/collector.1/offer"
    spy, agent = broker.address("agent.b"), broker.address("agent.a")
    assert await heard(spy, "fedbus/v1/link/#", agent, to) == []


# ── life ───────────────────────────────────────────────────────────────────────────────────────


async def test_killed_broker_starts_again_on_its_port(own_broker: LocalBroker) -> None:
    """A client that knew its address finds it there, with what it had saved."""
    first = own_broker.pid
    own_broker.kill()
    assert own_broker.pid is None
    own_broker.start()
    assert own_broker.pid not in (None, first)
    async with mqtt.connect(own_broker.address("agent.a"), name="agent.a"):
        pass


async def test_stopped_broker_keeps_what_it_retained(own_broker: LocalBroker) -> None:
    """A clean stop saves; only a kill loses what came after the last save."""
    state = Packet("fedbus/v1/nodes/agent.a/state", b"here", retain=True)
    own = "fedbus/v1/link/agent.a/agent.a/echo"
    async with mqtt.connect(own_broker.address("agent.a"), name="agent.a", listen=[own]) as bus:
        await bus.publish(state)
        await bus.publish(Packet(own, b""))
        await bus.receive()
    own_broker.stop()
    own_broker.start()
    address = own_broker.address("controller.1")
    async with (
        asyncio.timeout(SECONDS),
        mqtt.connect(address, name="controller.1", listen=[state.topic]) as bus,
    ):
        assert await bus.receive() == [state]


def test_two_brokers_live_beside_each_other(tmp_path: Path) -> None:
    """Neither opens a port it was not told to."""
    accounts = {"agent.a": "secret"}
    with (
        LocalBroker(tmp_path / "1", accounts=accounts) as one,
        LocalBroker(tmp_path / "2", accounts=accounts) as two,
    ):
        assert one.pid is not None
        assert two.pid is not None


async def test_open_broker_accepts_any_client(tmp_path: Path) -> None:
    """Without accounts there is nothing to log in with."""
    with LocalBroker(tmp_path) as broker:
        async with mqtt.connect(broker.address(), name="guest", listen=["#"]) as bus:
            await bus.publish(Packet("anything", b""))
            assert await bus.receive() == [Packet("anything", b"")]


def test_taken_port_is_said(own_broker: LocalBroker, tmp_path: Path) -> None:
    """Another broker on its port is not mistaken for it."""
    second = LocalBroker(tmp_path / "second", port=own_broker.port)
    with pytest.raises(BusError, match=rf"{own_broker.port}: Address already in use; name another"):
        second.start()


def test_a_port_that_is_taken_between_looking_and_starting_is_said(
    own_broker: LocalBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers there is not ours, even while our own process still tries."""
    second = LocalBroker(tmp_path / "second", port=own_broker.port)
    with monkeypatch.context() as race:
        race.setattr(second, "_check_port", race.undo)  # the first look finds it free
        with pytest.raises(PortTaken, match=f"{own_broker.port}: Address already in use"):
            second.start()
    assert second.pid is None
    second.port = free_port()
    with second:
        assert second.pid is not None


def test_a_broker_that_does_not_start_reports_the_end_of_its_log(tmp_path: Path) -> None:
    """A wrong line in its configuration, for one."""
    with pytest.raises(BusError, match=r"does not start: .*Unknown configuration.*nonsense"):
        LocalBroker(tmp_path, extra=["nonsense true"]).start()


def test_unknown_account_is_said(broker: LocalBroker) -> None:
    """With the names there are."""
    with pytest.raises(SettingsError, match=r"no account 'agent.x'; it has agent.a, "):
        broker.address("agent.x")


def test_missing_mosquitto_is_said_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the manual."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(module, "PLACES", ())
    with pytest.raises(SettingsError, match="apt install mosquitto"):
        mosquitto()


def test_free_port_is_none_that_outgoing_connections_are_given() -> None:
    """Or a client that tries a dead broker's port could meet itself."""
    assert 20_000 <= free_port() < 32_768


# ── TLS ────────────────────────────────────────────────────────────────────────────────────────


async def test_tls_carries_chunks_in_both_directions(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """What TLS has decrypted beyond one packet is read too, though no event tells of it."""
    lines = [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
    with LocalBroker(tmp_path, extra=lines) as broker:
        address = BrokerAddress("127.0.0.1", broker.port, tls=True, ca_file=certificate[0])
        async with (
            asyncio.timeout(SECONDS),
            mqtt.connect(address, name="agent.a", listen=["t"]) as bus,
        ):
            sizes = [1, 1, 1, 256 * 1024, 1, 20_000, 1]
            for size in sizes:
                await bus.publish(Packet("t", bytes(size)))
            seen: list[int] = []
            async for packet in bus:
                seen.append(len(packet.payload))
                if len(seen) == len(sizes):
                    break
            assert seen == sizes


async def refusal(address: BrokerAddress) -> str:
    """Return why a login is refused."""
    try:
        async with mqtt.connect(address, name="agent.a"):
            return "it was not"
    except BusError as error:
        return str(error)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_untrusted_certificate_is_refused(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """The default is to trust the system's authorities only."""
    lines = [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
    with LocalBroker(tmp_path, extra=lines) as broker:
        address = BrokerAddress("127.0.0.1", broker.port, tls=True)
        assert "certificate verify failed" in await refusal(address)
        gc.collect()  # paho leaves that socket to the collector, who warns


async def test_plain_login_at_a_tls_port_is_explained(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """The likely mistake is named."""
    lines = [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
    with LocalBroker(tmp_path, extra=lines) as broker:
        assert "does the broker want TLS" in await refusal(broker.address())
