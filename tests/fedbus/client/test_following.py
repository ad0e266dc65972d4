"""Jobs that a client follows to their end."""

from collections.abc import AsyncGenerator

import pytest

from fedbus.client import job_requests
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.client.connection import ClientConnection
from fedbus.client.job_reports import Awaiting, JobNews
from fedbus.core import clock
from fedbus.errors import BusError
from fedbus.mqtt.bus import BrokerAddress, Packet
from fedbus.wire import codec
from fedbus.wire.documents import JobPhase, JobState, NodeState, RoundState

HERE = BrokerLogin(BrokerAddress("h"), "user.me")


def state(phase: JobPhase = "running", round: int = 0) -> JobState:
    """Where a job of three rounds stands."""
    return JobState(
        job="j", model="m", phase=phase, round=round, num_rounds=3, metrics={}, reason=""
    )


def done(round: int) -> RoundState:
    """A finished round."""
    return RoundState(
        job="j",
        round=round,
        version=round,
        contributors=("agent.1",),
        refusals={},
        examples=70,
        metrics={},
        seconds={},
    )


def test_rounds_are_told_in_order_and_the_state_last() -> None:
    """The broker keeps no order among topics, and the state may be the job's last word."""
    rounds = [Packet(f"r/jobs/j/rounds/{number}", b"") for number in (10, 2)]
    told = sorted([Packet("r/jobs/j/state", b""), *rounds], key=job_requests.in_order)
    assert [packet.topic[7:] for packet in told] == ["j/rounds/2", "j/rounds/10", "j/state"]


class Broker:
    """Connections that tell some packets and then break, one after the other."""

    def __init__(self, *connections: list[Packet | None]) -> None:
        self.connections = list(connections)
        self.now = 0.0
        self.read = False

    async def news(
        self, _connection: ClientConnection, _job: str, *, absent_seconds: float
    ) -> AsyncGenerator[Packet | None, None]:
        """One connection; it breaks after an hour."""
        assert absent_seconds == (300.0 if self.read else 0.0)
        if not self.connections:
            self.now += 10.0
        for packet in self.connections.pop(0) if self.connections else ():
            self.read = self.read or (packet is not None and packet.topic.endswith("/j/state"))
            yield packet
        self.now += 3600.0 if self.connections else 0.0
        raise BusError("h: lost")


def followed_on(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the following see this broker and its clock."""
    monkeypatch.setattr(job_requests, "news", broker.news)
    monkeypatch.setattr(job_requests, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(clock, "monotonic", lambda: broker.now)


async def followed() -> list[JobNews]:
    """Follow the job to its end."""
    return [each async for each in job_requests.follow(ClientConnection(HERE), "j")]


def packet_of(told: JobState) -> Packet:
    """The retained message of a state."""
    return Packet("fedbus/v1/jobs/j/state", codec.to_json(told))


async def test_what_a_packet_holds_is_read_by_its_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """States and rounds look alike otherwise."""
    round_packet = Packet("fedbus/v1/jobs/j/rounds/1", codec.to_json(done(1)))
    end = state("failed", 1)
    followed_on(Broker([round_packet, packet_of(state()), packet_of(end)]), monkeypatch)
    assert await followed() == [done(1), state(), end]


async def test_following_outlives_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long nothing was said before it died: rounds may take hours."""
    end = state("finished", 3)
    followed_on(Broker([packet_of(state())], [packet_of(end)]), monkeypatch)
    assert (await followed())[-1] == end


async def test_a_state_that_a_new_connection_repeats_is_watched_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker retains it, and tells it to every connection."""
    begun, end = packet_of(state()), packet_of(state("finished", 3))
    followed_on(Broker([begun], [begun, end]), monkeypatch)
    watched = [each async for each in Client(HERE).watch("j")]
    assert watched == [state(), state("finished", 3)]


async def test_a_broker_that_does_not_come_back_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five minutes after it was last there."""
    broker = Broker([packet_of(state())])
    followed_on(broker, monkeypatch)
    with pytest.raises(BusError, match="lost"):
        await followed()
    assert broker.now == 310.0


async def test_a_broker_that_never_was_there_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Most likely its address is wrong."""
    followed_on(Broker(), monkeypatch)
    with pytest.raises(BusError, match="lost"):
        await followed()


def node(name: str, *, online: bool = True) -> Packet:
    """The retained message of a node's state."""
    said = NodeState(node=name, incarnation=1, online=online)
    return Packet(f"fedbus/v1/nodes/{name}/state", codec.to_json(said))


async def test_what_is_missing_is_said_once_and_when_nothing_is_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock went on as if all were well."""
    services = [node(f"{role}.1") for role in ("controller", "repository", "collector")]
    end = state("finished", 3)
    broker = Broker(
        [*services, packet_of(state()), None, node("repository.1", online=False)],
        [*services, packet_of(state()), None, node("agent.1", online=False)],
        [packet_of(end)],
    )
    followed_on(broker, monkeypatch)
    assert await followed() == [
        state(),
        Awaiting("a repository: repository.1 is offline"),
        Awaiting("the broker: h: lost"),
        state(),
        Awaiting(""),
        Awaiting("the broker: h: lost"),
        end,
    ]
