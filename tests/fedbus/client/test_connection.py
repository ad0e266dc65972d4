"""Requests to a controller that is offline: what they wait for is reported, and none is lost."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from fedbus.client import request_channel
from fedbus.client.address import BrokerLogin
from fedbus.client.connection import ClientConnection
from fedbus.client.failures import Unreachable
from fedbus.client.missing_services import describe_missing
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus.wire import codec
from fedbus.wire.documents import NodeState
from fedbus.wire.topics import ROOT

SUBMIT = f"{ROOT}/submit"


def said(node: str, *, online: bool = True) -> Packet:
    """What is retained of a node."""
    state = NodeState(node=node, incarnation=1, online=online)
    return Packet(f"{ROOT}/nodes/{node}/state", codec.to_json(state), retain=True)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ([], "none is online"),
        ([said("controller.1", online=False), said("repository.1")], "none is online"),
        ([said("controller.1")], "no repository, without which none decides"),
        ([said("controller.1"), said("repository.1")], "has not decided yet"),
        ([said("agent.a"), Packet(f"{ROOT}/nodes/x/state", b"{")], "none is online"),
    ],
)
def test_what_is_awaited_is_read_from_what_nodes_say(there: list[Packet], words: str) -> None:
    """Who decides is the controller, and only with the repository's lease."""
    assert words in describe_missing(there)


async def test_a_job_for_no_controller_is_kept_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command says what it waits for, then that nothing is lost; the controller finds the job."""
    monkeypatch.setattr(request_channel, "REPORT_SECONDS", 0.1)
    monkeypatch.setattr(request_channel, "REPEAT_SECONDS", 0.3)
    accounts = {"controller.1": "c", "user.me": "u"}
    told: list[str] = []
    with LocalBroker(tmp_path / "broker", accounts=accounts) as broker:
        where = BrokerLogin(broker.address("user.me"), "user.me")
        controller = broker.address("controller.1")
        with pytest.raises(Unreachable, match="no broker keeps it"):
            await _ask(where, told.append)
        assert told == ["waiting for the controller: none is online"]
        async with mqtt.connect(controller, name="controller.1", keep=[SUBMIT]):
            pass
        with pytest.raises(Unreachable, match="nothing is lost: the broker keeps the request"):
            await _ask(where)
        async with mqtt.connect(controller, name="controller.1", keep=[SUBMIT]) as bus:
            async with asyncio.timeout(5):
                (kept, *_) = await bus.receive()
            assert (kept.topic, kept.payload) == (SUBMIT, b"{}")
            assert kept.response_topic is not None


async def _ask(login: BrokerLogin, tell: Callable[[str], None] = lambda _: None) -> None:
    async with ClientConnection(login, tell, answer_seconds=1.0) as one:
        await one.requests.send(SUBMIT, b"{}", of="the controller", kept=True)
