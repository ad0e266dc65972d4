"""A node notices that the broker drops what it says."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus.mqtt.mosquitto_config import acl_file
from fedbus.runtime import loopback_check
from fedbus.runtime.identity import Identity
from fedbus.runtime.loopback import PROBE_INTERVAL_SECONDS, LoopbackProbe
from fedbus.runtime.node import Node
from fedbus.runtime.shell import Shell
from fedbus.wire.access_rules import access_rules
from fedbus.wire.topics import ROOT
from tests.fedbus.runtime.node.harness import Fake

LOGINS = ("agent.a", "agent.mute", "agent.deaf", "agent.hidden")
LONG = 10.0


def a_probe(login: str | None = "agent.a") -> LoopbackProbe:
    """Of the node agent.a."""
    return LoopbackProbe("agent.a", ROOT, 7, login)


def test_a_missed_probe_is_repeated_at_once() -> None:
    """A broker under load drops packets; only the second one missed is a trouble."""
    probe = a_probe()
    assert (probe.unheard, probe.pause) == (False, PROBE_INTERVAL_SECONDS)
    assert not probe.missed()
    assert (probe.unheard, probe.pause) == (False, 0.0)
    assert probe.missed()
    assert (probe.unheard, probe.pause) == (True, PROBE_INTERVAL_SECONDS)
    assert probe.received()
    assert not probe.received()
    assert (probe.unheard, probe.pause) == (False, PROBE_INTERVAL_SECONDS)


def test_a_probe_of_another_process_with_this_name_is_no_answer() -> None:
    """It proves only that the other one is heard."""
    ours, others = a_probe().packet(), LoopbackProbe("agent.a", ROOT, 8, None).packet()
    assert a_probe().is_probe(others)
    assert not a_probe().is_own(others)
    assert a_probe().is_own(Packet(ours.topic, memoryview(ours.payload)))  # type: ignore[arg-type]  # lent
    assert not a_probe().is_probe(Packet(f"{ROOT}/link/agent.b/agent.a/offer", b""))


@pytest.mark.parametrize(
    ("login", "words"),
    [
        ("agent.a", ["the login agent.a to write", "mosquitto/README.md"]),
        ("fleet", ["the login fleet to write", "this node must log in as agent.a"]),
        (None, ["(no user name was given)", "mosquitto/README.md"]),
    ],
)
def test_the_log_names_the_login_and_the_rules(login: str | None, words: list[str]) -> None:
    """The operator of the broker can look them up."""
    said = a_probe(login).sentence()
    rules = [f"write {ROOT}/link/agent.a/# ", f"to read {ROOT}/link/+/agent.a/#."]
    assert [word for word in words + rules if word not in said] == []


def rules_of(login: str) -> Iterator[tuple[str, str]]:
    """agent.mute may say nothing, agent.deaf hears nothing, agent.hidden may not say who it is."""
    access = {"agent.mute": "read", "agent.deaf": "write"}.get(login)
    hidden = login == "agent.hidden"
    for rule in access_rules(login):
        if access in (None, rule[0]) and not (hidden and "/nodes/" in rule[1]):
            yield rule


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A broker of which only agent.a has the rules of an agent."""
    accounts = dict.fromkeys(LOGINS, "pw")
    with LocalBroker(tmp_path_factory.mktemp("b"), accounts=accounts, rules=rules_of) as started:
        yield started


@asynccontextmanager
async def connected(broker: LocalBroker, name: str, login: str) -> AsyncIterator[Shell]:
    """A service's shell on a connection."""
    node = Node(Identity(name=name, incarnation=7), Fake(), Random(1))
    shell = Shell(node, 1, LoopbackProbe(name, ROOT, 7, login))
    at = broker.address(login)
    async with mqtt.connect(at, name=login, listen=node.subscriptions(), lend=True) as bus:
        serving = asyncio.create_task(shell.serve(bus))
        yield shell
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    shell.close()


@pytest.mark.parametrize(
    ("name", "login", "words"),
    [
        ("agent.1", "agent.a", "nodes/agent.1/state refused: Not authorized; do the access rules"),
        ("agent.mute", "agent.mute", "nodes/agent.mute/state refused: Not authorized"),
        ("agent.hidden", "agent.hidden", "nodes/agent.hidden/state refused: Not authorized"),
        ("agent.deaf", "agent.deaf", f"the login agent.deaf to write {ROOT}/link/agent.deaf/# and"),
    ],
)
async def test_a_node_that_the_broker_silences_says_so(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch, name: str, login: str, words: str
) -> None:
    """Under another's name, without the right to write, to say who it is, or to read."""
    monkeypatch.setattr(loopback_check, "ANSWER_SECONDS", 0.1)
    with capture_logs() as logs:
        async with asyncio.timeout(LONG), connected(broker, name, login) as shell:
            while not shell.counts.get("node_unheard"):  # noqa: ASYNC110 - the log has no event
                await asyncio.sleep(0.01)
            assert shell.connected
            assert not shell.healthy
    (said,) = (line for line in logs if line["event"] == "node_unheard")
    assert said["log_level"] == "error"
    assert said["reason"].startswith("the broker does not deliver: ")
    assert words in said["reason"]
    assert shell.counts["node_unheard"] == 1


async def test_a_node_that_is_heard_says_nothing(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its core never sees the word."""
    monkeypatch.setattr("fedbus.runtime.loopback.PROBE_INTERVAL_SECONDS", 0.01)
    words: list[Packet] = []
    word = LoopbackProbe.packet

    def counted(probe: LoopbackProbe) -> Packet:
        words.append(word(probe))
        return words[-1]

    monkeypatch.setattr(LoopbackProbe, "packet", counted)
    with capture_logs() as logs:
        async with asyncio.timeout(LONG), connected(broker, "agent.a", "agent.a") as shell:
            while len(words) < 4:  # noqa: ASYNC110 - three came back
                await asyncio.sleep(0.01)
            assert shell.healthy
    assert [line for line in logs if line["log_level"] != "info"] == []
    assert "message_misread" not in shell.counts  # as its node would call such a word


async def test_rules_that_are_mended_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a new start of the node, in a minute."""
    monkeypatch.setattr(loopback_check, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr("fedbus.runtime.loopback.PROBE_INTERVAL_SECONDS", 0.05)
    with LocalBroker(
        tmp_path, accounts={"agent.a": "pw"}, rules=lambda _: [("read", f"{ROOT}/none")]
    ) as own:
        async with asyncio.timeout(LONG), connected(own, "agent.a", "agent.a") as shell:
            while not shell.counts.get("node_unheard"):  # noqa: ASYNC110 - the log has no event
                await asyncio.sleep(0.01)
            (tmp_path / "acl").write_text(acl_file(["agent.a"]))
            os.kill(own.pid or 0, signal.SIGHUP)
            while not shell.healthy:  # noqa: ASYNC110 - the log has no event
                await asyncio.sleep(0.01)
