"""`fedbus agents`: nodes, and the age of their last state."""

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner

from fedbus.cli.commands.agents import trouble_lines
from fedbus.cli.main import app
from fedbus.client.nodes import KEPT_SECONDS, LONG_AGO_SECONDS, read_identities, read_nodes
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus.secure_aggregation.known_identities import read_pinned_identities
from fedbus.wire import codec
from fedbus.wire.documents import NodeIdentity, NodeState
from tests.fedbus.runtime.node.harness import FACTS, Fake, a_node


def said(node: str, ago: float | None, *, online: bool = True) -> Packet:
    """What is retained of a node, as the broker delivers it some time later."""
    state = codec.to_json(NodeState(node=node, incarnation=1, online=online))
    expiry = None if ago is None else int(KEPT_SECONDS - ago)
    return Packet(f"fedbus/v1/nodes/{node}/state", state, retain=True, expiry=expiry)


def ages(*packets: Packet) -> list[float | None]:
    """How long ago each was said."""
    return [one.age_seconds for one in read_nodes(packets)]


def test_an_age_is_what_is_gone_of_the_expiry() -> None:
    """The broker counts it down, whatever the clocks of device and desk say."""
    assert ages(said("agent.a", 12), said("agent.b", 3 * 86400, online=False)) == [12, 3 * 86400]
    assert ages(said("agent.a", -5)) == [0]


def test_where_no_expiry_is_told_there_is_no_age() -> None:
    """Of a node of another version, or a broker that does not pass it on."""
    assert ages(said("agent.a", None), said("agent.b", 7)) == [None, 7]


def test_a_broker_that_shortens_the_expiry_ages_no_node() -> None:
    """Some have a limit of their own; who is online was heard within minutes."""
    capped = KEPT_SECONDS - 86400
    assert capped > LONG_AGO_SECONDS
    assert ages(said("agent.a", capped), said("agent.b", capped + 9, online=False)) == [None, None]
    assert ages(said("agent.b", LONG_AGO_SECONDS + 1, online=False)) == [LONG_AGO_SECONDS + 1]


def test_what_cannot_be_read_is_left_out() -> None:
    """One strange message must not hide the others."""
    odd = Packet("fedbus/v1/nodes/agent.z/state", b"{")
    assert ages(odd, said("agent.a", 1)) == [1]


def test_the_last_will_has_the_expiry_too() -> None:
    """The broker says it when the connection breaks, and counts from then."""
    assert a_node(Fake(known=FACTS)).will_packet().expiry == KEPT_SECONDS


async def test_the_command_shows_how_long_ago(tmp_path: Path) -> None:
    """Through a real broker, which counts the seconds."""
    accounts = dict.fromkeys(("agent.a", "agent.b", "user.cli"), "pw")
    with LocalBroker(tmp_path / "broker", accounts=accounts) as broker:
        for node, online in (("agent.a", True), ("agent.b", False)):
            async with mqtt.connect(broker.address(node), name=node) as bus:
                await bus.publish(said(node, 0, online=online))
        await asyncio.sleep(1.2)
        at = broker.address("user.cli").url
        run = CliRunner().invoke
        done = await asyncio.to_thread(run, app, ["--broker", at, "agents"])
        plain = await asyncio.to_thread(run, app, ["--broker", at, "agents", "--json"])
    header, first, second = (line.split("\t") for line in done.stdout.splitlines())
    assert header[:3] == ["NODE", "STATE", "SAID"]
    assert first[:2] == ["agent.a", "online"]
    assert second[:2] == ["agent.b", "offline"]
    assert {first[2], second[2]} <= {"1s", "2s", "3s"}
    assert [one["seen"][-1] for one in json.loads(plain.stdout)] == ["Z", "Z"]


def test_what_a_person_should_look_at_is_said_below_the_table() -> None:
    """Of services too, whom the table leaves out; what is gone is no trouble any more."""
    twice = NodeState(node="agent.a", incarnation=1, online=True, trouble="used twice")
    alone = NodeState(node="inference.1", incarnation=1, online=True, trouble="no shares")
    gone = NodeState(node="agent.b", incarnation=1, online=False, trouble="used twice")
    well = NodeState(node="agent.c", incarnation=1, online=True)
    assert list(trouble_lines([twice, alone, gone, well])) == [
        "agent.a: used twice",
        "inference.1: no shares",
    ]


def announced(node: str, key: str, place: str = "") -> Packet:
    """Return the retained identity of a node, at its own place or at another one."""
    payload = codec.to_json(NodeIdentity(node=node, key=key))
    return Packet(f"fedbus/v1/nodes/{place or node}/identity", payload, retain=True)


def test_identities_are_read_from_each_agents_own_topic() -> None:
    """One that is unreadable, or that says the name of another agent, is left out."""
    odd = Packet("fedbus/v1/nodes/agent.z/identity", b"{")
    packets = [odd, announced("agent.b", "b" * 64), announced("agent.a", "a" * 64)]
    packets.append(announced("agent.b", "c" * 64, "agent.y"))
    assert list(read_identities(packets).items()) == [("agent.a", "a" * 64), ("agent.b", "b" * 64)]


async def test_identities_are_printed_as_lines_to_pin(tmp_path: Path) -> None:
    """Standard output is a file of pinned identities; a warning says that it is no proof."""
    accounts = dict.fromkeys(("agent.a", "user.cli"), "pw")
    with LocalBroker(tmp_path / "broker", accounts=accounts) as broker:
        at, run = broker.address("user.cli").url, CliRunner().invoke
        words = ["--broker", at, "agents", "--identities"]
        none = await asyncio.to_thread(run, app, words)
        async with mqtt.connect(broker.address("agent.a"), name="agent.a") as bus:
            await bus.publish(announced("agent.a", "a" * 64))
        lines = await asyncio.to_thread(run, app, words)
        plain = await asyncio.to_thread(run, app, [*words, "--json"])
    assert (none.stdout, none.exit_code) == ("", 0)
    assert "no agent has announced an identity" in none.stderr
    assert read_pinned_identities(lines.stdout) == {"agent.a": "a" * 64}
    assert json.loads(plain.stdout) == {"agent.a": "a" * 64}
    for done in (lines, plain):
        assert "compare each with identity.public" in done.stderr
