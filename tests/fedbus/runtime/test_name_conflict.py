"""Two processes of one name are detected, and one process is not taken for two."""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fedbus.mqtt.login import TAKEN_OVER
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus.runtime import reconnection
from fedbus.runtime.identity import Identity
from fedbus.runtime.name_conflict import NameConflict
from fedbus.runtime.node import Node
from fedbus.runtime.reconnection import LONGEST_CONFLICT_SECONDS, keep_connected, pause_after
from fedbus.runtime.shell import Shell
from fedbus.wire.documents import NodeState
from tests.fedbus.mqtt.fakes import CONNACK, listening
from tests.fedbus.runtime.node.harness import Fake

OWN, LATER, EARLIER = 50, 60, 40


def word_of(incarnation: int) -> NodeState:
    """What is retained under our name."""
    return NodeState(node="agent.a", incarnation=incarnation, online=True)


def a_conflict(before: int | None = None) -> NameConflict:
    """A process that has logged in, found a life before it, or none, and heard itself."""
    conflict = NameConflict("agent.a", OWN)
    conflict.state_published()
    if before is not None:
        assert not conflict.state_received(word_of(before))
    assert not conflict.state_received(word_of(OWN))
    return conflict


def test_the_word_of_a_later_life_is_another_process() -> None:
    """No other incarnation starts later while this one runs."""
    conflict = a_conflict()
    assert conflict.state_received(word_of(LATER))
    assert conflict.count == 1
    assert conflict.trouble.startswith("another process logs in with the name agent.a")


@pytest.mark.parametrize("before", [EARLIER, LATER])
def test_a_state_from_before_the_first_publication_is_of_an_earlier_incarnation(
    before: int,
) -> None:
    """After a restart the retained word is that of the process that ended.

    On a board that has no clock of its own, that may have begun later.
    """
    conflict = a_conflict(before)
    assert (conflict.count, conflict.trouble) == (0, "")
    conflict.state_published()
    assert not conflict.state_received(
        word_of(before)
    )  # of a broker that was killed, and had saved it
    assert conflict.count == 0


def test_the_word_of_a_life_before_counts_the_second_time() -> None:
    """A broker that was killed may come back with what it had saved of our life before."""
    conflict = a_conflict(EARLIER)
    conflict.state_published()
    assert not conflict.state_received(word_of(EARLIER))
    assert not conflict.state_received(word_of(EARLIER))  # of the same connection
    conflict.state_published()
    assert conflict.state_received(word_of(EARLIER))
    conflict.resolved()
    assert conflict.trouble == ""


def test_brokers_that_are_killed_now_and_then_are_no_conflict() -> None:
    """Two processes of one name throw each other out at once, not once in a day."""
    conflict = a_conflict(EARLIER)
    for _ in range(3):
        conflict.state_published()
        assert not conflict.state_received(word_of(EARLIER))
        conflict.connection_lasted()
    assert conflict.count == 0
    conflict.state_published()
    assert conflict.state_received(word_of(LATER))
    conflict.connection_lasted()
    assert conflict.trouble


def test_the_word_of_who_has_met_us_is_believed() -> None:
    """It waits for a minute by then, so that the second time would be long in coming."""
    met = a_conflict()
    assert met.state_received(word_of(LATER))
    conflict = a_conflict()
    assert conflict.state_received(replace(word_of(EARLIER), trouble=f"{met.trouble}; and more"))


def test_a_broker_that_says_so_is_believed() -> None:
    """MQTT 5 has a reason code for it, which newer brokers send; once may be a person's client."""
    conflict = NameConflict("agent.a", OWN)
    conflict.taken_over()
    assert conflict.count == 0
    conflict.taken_over()
    assert conflict.count == 1


def test_a_node_with_a_shared_name_logs_in_ever_more_rarely() -> None:
    """Each login throws the other out; without a conflict a lost connection is soon back."""
    rng = random.Random(1)
    assert pause_after(0.2, 0, rng) < 0.31
    first = pause_after(0.2, 1, rng)
    assert 30.0 <= first <= 60.0
    assert pause_after(0.2, 3, rng) >= 120.0
    assert pause_after(0.2, 1000, rng) <= 2 * LONGEST_CONFLICT_SECONDS


async def test_two_processes_of_one_login_find_out_on_a_real_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mosquitto 2.0.11 gives no reason; the access rules let each read its own state."""
    monkeypatch.setattr(reconnection, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(reconnection, "CONFLICT_PAUSE_SECONDS", 1.0)
    with LocalBroker(tmp_path / "broker", accounts={"agent.a": "x"}) as broker:
        shells = [shell_of(incarnation) for incarnation in (OWN, LATER)]
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            serving = [
                tasks.create_task(
                    keep_connected(shell, broker.address("agent.a"), random.Random(1)), name="serve"
                )
                for shell in shells
            ]
            while not all(shell.node.conflict.count for shell in shells):  # noqa: ASYNC110 - a broker decides
                await asyncio.sleep(0.02)
            for task in serving:
                task.cancel()
        for shell in shells:
            assert shell.counts["name_used_twice"] >= 1  # a slow machine finds out again
            assert "another process" in shell.node.conflict.trouble
            shell.close()


def shell_of(incarnation: int) -> Shell:
    """A process that only says who it is."""
    identity = Identity(name="agent.a", incarnation=incarnation)
    return Shell(Node(identity, Fake(), random.Random(incarnation)), threads=1)


async def test_a_broker_that_says_that_the_name_was_taken_over_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Newer ones send a reason code with the end of the connection."""
    monkeypatch.setattr(reconnection, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(reconnection, "CONFLICT_PAUSE_SECONDS", 60.0)

    async def take_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(CONNACK)
        packet = await reader.read(4096)
        writer.write(b"\x90\x05" + packet[2:4] + b"\0\0\0")  # both subscriptions granted
        writer.write(b"\xe0\x02" + bytes((TAKEN_OVER, 0)))
        await reader.read()

    shell = shell_of(OWN)
    async with listening(take_over) as address, asyncio.timeout(10):
        serving = asyncio.create_task(keep_connected(shell, address, random.Random(1)))
        while not shell.node.conflict.count:  # noqa: ASYNC110 - a broker decides
            await asyncio.sleep(0.02)
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
    assert "another process" in shell.node.conflict.trouble
    shell.close()
