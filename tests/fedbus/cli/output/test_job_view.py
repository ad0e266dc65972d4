"""A job's progress, as people and programs see it."""

import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from rich.console import Console

from fedbus.cli.output import display, job_view
from fedbus.cli.output.job_lines import format_traffic_sum, report_end, round_line
from fedbus.cli.output.job_view import JsonView, LinesView, ProgressBarView
from fedbus.client.job_reports import Awaiting, JobNews
from fedbus.wire import codec
from fedbus.wire.documents import JobPhase, JobState, RoundState
from fedbus.wire.round_traffic import RoundTraffic
from tests.fedbus.cli.output.spent_privacy import spent


def state(phase: JobPhase = "running", round: int = 0, reason: str = "") -> JobState:
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
    assert round_line(done(7)) == "round   7  accuracy 50.0 %  2 agents, 1 left out, 70 examples"


def test_a_round_says_what_compression_saves() -> None:
    """Updates and the version that agents downloaded, each as a share of the model's bytes."""
    plain = RoundTraffic(updates=2_000_128, version=1_000_000, plain=1_000_000)
    saved = replace(plain, updates=60_200, version=252_000)
    for traffic, said in (
        (None, ""),
        (plain, ""),
        (replace(plain, plain=0), ""),
        (replace(plain, updates=60_200), ", updates: 58.8 KiB, 3 % of plain"),
        (saved, ", updates: 58.8 KiB, 3 % of plain, version: 246.1 KiB, 25 %"),
        (replace(plain, updates=2_400_000), ", updates: 2.3 MiB, 120 % of plain"),
    ):
        made = replace(done(7), contributors=("agent.a", "agent.b"), traffic=traffic)
        assert round_line(made).partition("70 examples")[2] == said


def test_the_traffic_of_all_rounds_is_added_up() -> None:
    """What a chain of steps saves in the whole job; rounds of older records have no figures."""
    mib = 2**20
    made = replace(
        done(1),
        contributors=("agent.a", "agent.b"),
        traffic=RoundTraffic(updates=mib, version=mib, plain=2 * mib),
    )
    private = replace(made, contributors=(), traffic=None)
    assert format_traffic_sum([]) == format_traffic_sum([private]) == ""
    assert format_traffic_sum([made, made]) == "updates 2.0 MiB, versions 4.0 MiB, 38 % of plain"
    whole = replace(made, traffic=RoundTraffic(updates=4 * mib, version=2 * mib, plain=2 * mib))
    assert format_traffic_sum([whole]) == "updates 4.0 MiB, versions 4.0 MiB"
    assert format_traffic_sum([private, whole]).endswith("4.0 MiB, in 1 of 2 rounds")


def test_a_private_round_is_one_line_of_what_its_job_has_spent() -> None:
    """It names no agents, so there is nothing to count."""
    private = replace(done(7), contributors=(), refusals={}, examples=0, privacy=spent())
    assert round_line(private) == (
        "round   7  accuracy 50.0 %  ε 3.21 of 4, δ 1e-05 (dp-fixed, 12 ledger entries)"
    )


def test_a_private_job_ends_with_what_it_has_spent(capsys: pytest.CaptureFixture[str]) -> None:
    """The job's ε and the model's are told apart, also without any metric."""
    end = replace(state("finished", 3, "all 3 rounds are done"), metrics={}, privacy=spent())
    report_end(end, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "job j finished: all 3 rounds are done",
        "m version None: no metrics",
        "job j has spent ε 3.21 of 4, δ 1e-05 (dp-fixed, 12 ledger entries)",
        "all jobs on m have spent ε 5.1, δ 2e-05; `fedbus privacy show m` explains it",
    ]
    report_end(replace(end, privacy=spent(model_epsilon=3.2041, model_delta=1e-5)), as_json=False)
    assert len(capsys.readouterr().out.splitlines()) == 3  # of its model's only job
    report_end(replace(end, metrics={"accuracy": 0.5}, privacy=None), as_json=False)
    assert capsys.readouterr().out.splitlines()[1] == "m version None: accuracy 50.0 %"
    report_end(end, as_json=True)
    assert capsys.readouterr().out == ""


def test_a_bar_shows_the_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the accuracy."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(display, "out", lambda: console)
    with ProgressBarView() as bar:
        bar.state(replace(state(round=1), privacy=spent()))
    assert "accuracy 50.0 %  ε 3.21" in terminal.getvalue()


def test_lines_tell_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    """After a reconnect the broker tells everything again."""
    view = LinesView()
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
    view = JsonView()
    view.state(state())
    view.round(done(1))
    assert json.loads(capsys.readouterr().out) == codec.to_plain(state())


def test_a_bar_moves_and_ends_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that reached its target early is done, not half done."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(display, "out", lambda: console)
    with ProgressBarView() as bar:
        bar.state(state(round=1))
        bar.round(done(1))
        bar.round(done(1))
        bar.state(state("finished", 2, "accuracy reached"))
    said = terminal.getvalue()
    assert said.count(round_line(done(1))) == 1
    assert "━" * 30 in said
    assert "round 2 of 3" in said
    assert "finished" in said


async def test_each_kind_of_news_goes_to_its_part_of_the_view(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Up to the state that ends the job."""
    end = state("finished", 1)

    async def news() -> AsyncIterator[JobNews]:
        for each in (Awaiting("a collector"), done(1), state(), Awaiting(""), end, state()):
            yield each

    assert await job_view.show_news(news(), LinesView()) == end
    assert capsys.readouterr().out.splitlines() == [
        "awaiting a collector",
        round_line(done(1)),
        "j running",
        "nothing is awaited any more",
    ]


def test_programs_are_told_on_the_other_stream(capsys: pytest.CaptureFixture[str]) -> None:
    """Their lines are states."""
    JsonView().awaiting("a controller: none")
    JsonView().awaiting("")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "awaiting a controller: none",
        "nothing is awaited any more",
    ]


def test_the_clock_of_a_bar_stands_still_while_something_is_awaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A missing service, or the agents that the job's reason names."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(display, "out", lambda: console)

    def now(bar: ProgressBarView) -> str:
        terminal.seek(0)
        terminal.truncate()
        bar.refresh()
        return terminal.getvalue()

    with ProgressBarView() as bar:
        bar.awaiting("a controller: controller.1 is offline")
        bar.state(state(round=1))
        assert "awaiting a controller: controller.1 is offline -:--:--" in now(bar)
        bar.awaiting("")
        assert "2 agents" in now(bar)
        assert "0:00:0" in now(bar)
        bar.state(replace(state(reason="waiting for agents: 1 is online"), agents=0))
        assert "waiting for agents: 1 is online -:--:--" in now(bar)
        bar.state(state(reason="2 of 3 agents are lost"))
        assert "2 of 3 agents are lost -:--:--" in now(bar)
