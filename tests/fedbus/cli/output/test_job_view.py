"""A job's progress, as people and programs see it."""

import io
import json
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from rich.console import Console

from fedbus.cli.output import display, job_view
from fedbus.cli.output.job_view import Bar, Json, Lines, round_line
from fedbus.client.address import Where
from fedbus.core import clock
from fedbus.errors import BusError
from fedbus.mqtt.bus import BrokerAddress, Packet
from fedbus.wire import codec
from fedbus.wire.documents import JobState, NodeState, Phase, RoundState

HERE = Where(BrokerAddress("h"), "user.cli")


def state(phase: Phase = "running", round: int = 0, reason: str = "") -> JobState:
    """Where a job of three rounds stands."""
    return JobState(
        job="j",
        model="m",
        phase=phase,
        round=round,
        num_rounds=3,
        metrics={"accuracy": 0.5, "train_accuracy": 1.0},
        reason=reason,
        agents=2,
    )


def done(round: int) -> RoundState:
    """A finished round."""
    return RoundState(
        job="j",
        round=round,
        version=round,
        contributors=("agent.1", "agent.2"),
        refusals={"agent.3": "too late"},
        examples=70,
        metrics={"accuracy": 0.5, "train_accuracy": 1.0},
        seconds={},
    )


def test_a_round_is_one_line_of_what_was_held_out() -> None:
    """Who contributed, who did not, and how good it is."""
    assert round_line(done(7)) == "round   7  accuracy 50.0 %  2 agents, 1 refused, 70 examples"


def test_lines_tell_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    """After a reconnect the broker tells everything again."""
    view = Lines()
    view.state(state(reason="waiting for agents"))
    for _ in range(2):
        view.state(state())
        view.round(done(1))
    view.state(state("finished", 3, "all rounds"))
    assert capsys.readouterr().out.splitlines() == [
        "j running: waiting for agents",
        "j running",
        round_line(done(1)),
    ]


def test_programs_get_the_states_as_they_are_published(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line."""
    view = Json()
    view.state(state())
    view.round(done(1))
    assert json.loads(capsys.readouterr().out) == codec.to_plain(state())


def test_a_bar_moves_and_ends_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that reached its target early is done, not half done."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(display, "out", lambda: console)
    with Bar() as bar:
        bar.state(state(round=1))
        bar.round(done(1))
        bar.round(done(1))
        bar.state(state("finished", 2, "accuracy reached"))
    said = terminal.getvalue()
    assert said.count(round_line(done(1))) == 1
    assert "━" * 30 in said
    assert "round 2 of 3" in said
    assert "finished" in said


def test_rounds_are_told_in_order_and_the_state_last() -> None:
    """The broker keeps no order among topics, and the state may be the job's last word."""
    rounds = [Packet(f"r/jobs/j/rounds/{number}", b"") for number in (10, 2)]
    told = sorted([Packet("r/jobs/j/state", b""), *rounds], key=job_view.in_order)
    assert [packet.topic[7:] for packet in told] == ["j/rounds/2", "j/rounds/10", "j/state"]


def test_each_topic_goes_to_its_part_of_the_view(capsys: pytest.CaptureFixture[str]) -> None:
    """What a packet holds is said by its topic alone."""
    view = Lines()
    round_packet = Packet("fedbus/v1/jobs/j/rounds/1", codec.to_json(done(1)))
    state_packet = Packet("fedbus/v1/jobs/j/state", codec.to_json(state()))
    assert job_view.shown(HERE, round_packet, view) is None
    assert job_view.shown(HERE, state_packet, view) == state()
    assert capsys.readouterr().out.splitlines() == [round_line(done(1)), "j running"]


class Broker:
    """Connections that tell some packets and then break, one after the other."""

    def __init__(self, *connections: list[Packet | None]) -> None:
        self.connections = list(connections)
        self.now = 0.0

    async def news(
        self, _where: Where, _job: str, *, submitted: bool
    ) -> AsyncGenerator[Packet | None, None]:
        """One connection; it breaks after an hour."""
        assert not submitted
        if not self.connections:
            self.now += 10.0
        for packet in self.connections.pop(0) if self.connections else ():
            yield packet
        self.now += 3600.0 if self.connections else 0.0
        raise BusError("h: lost")


def watched_on(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the watching see this broker and its clock."""
    monkeypatch.setattr(job_view, "news", broker.news)
    monkeypatch.setattr(job_view, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(clock, "monotonic", lambda: broker.now)


def packet_of(told: JobState) -> Packet:
    """The retained message of a state."""
    return Packet("fedbus/v1/jobs/j/state", codec.to_json(told))


async def test_watching_outlives_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long nothing was said before it died: rounds may take hours."""
    end = state("finished", 3)
    watched_on(Broker([packet_of(state())], [packet_of(end)]), monkeypatch)
    assert await job_view.until_ended(HERE, "j", Json()) == end


async def test_a_broker_that_does_not_come_back_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five minutes after it was last there."""
    broker = Broker([packet_of(state())])
    watched_on(broker, monkeypatch)
    with pytest.raises(BusError, match="lost"):
        await job_view.until_ended(HERE, "j", Json())
    assert broker.now == 310.0


def node(name: str, *, online: bool = True) -> Packet:
    """The retained message of a node's state."""
    said = NodeState(node=name, incarnation=1, online=online)
    return Packet(f"fedbus/v1/nodes/{name}/state", codec.to_json(said))


async def test_who_is_missing_is_said_once_and_when_nobody_is_any_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clock went on as if all were well."""
    services = [node(f"{role}.1") for role in ("controller", "repository", "collector")]
    broker = Broker(
        [*services, packet_of(state()), None, node("repository.1", online=False)],
        [*services, packet_of(state()), None, node("agent.1", online=False)],
        [packet_of(state("finished", 3))],
    )
    watched_on(broker, monkeypatch)
    await job_view.until_ended(HERE, "j", Lines())
    assert capsys.readouterr().out.splitlines() == [
        "j running",
        "awaiting a repository: repository.1 is offline",
        "awaiting the broker: h: lost",
        "nothing is awaited any more",
        "awaiting the broker: h: lost",
    ]


def test_programs_are_told_on_the_other_stream(capsys: pytest.CaptureFixture[str]) -> None:
    """Their lines are states."""
    Json().awaits("a controller: none")
    Json().awaits("")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "awaiting a controller: none",
        "nothing is awaited any more",
    ]


def test_the_clock_of_a_bar_stands_still_while_something_is_awaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Be it a service, or the agents that the job itself says it waits for."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(display, "out", lambda: console)

    def now(bar: Bar) -> str:
        terminal.seek(0)
        terminal.truncate()
        bar.refresh()
        return terminal.getvalue()

    with Bar() as bar:
        bar.awaits("a controller: controller.1 is offline")
        bar.state(state(round=1))
        assert "awaiting a controller: controller.1 is offline -:--:--" in now(bar)
        bar.awaits("")
        assert "2 agents" in now(bar)
        assert "0:00:0" in now(bar)
        bar.state(replace(state(reason="waiting for agents: 1 is online"), agents=0))
        assert "waiting for agents: 1 is online -:--:--" in now(bar)
        bar.state(state(reason="2 of 3 agents are lost"))
        assert "2 of 3 agents are lost -:--:--" in now(bar)


async def test_a_broker_that_never_was_there_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Most likely its address is wrong."""
    watched_on(Broker(), monkeypatch)
    with pytest.raises(BusError, match="lost"):
        await job_view.until_ended(HERE, "j", Json())
