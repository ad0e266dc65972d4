"""A job's progress until it ends: a bar on a terminal, lines elsewhere, JSON for programs."""

import sys
from collections.abc import AsyncIterable
from contextlib import aclosing
from types import TracebackType
from typing import Protocol, Self

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from fedbus.cli.output import display
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.client.results import Awaiting, JobNews
from fedbus.text import counted
from fedbus.wire import codec
from fedbus.wire.documents import ENDED_PHASES, JobState, RoundState


class View(Protocol):
    """Something that shows a job's news."""

    def state(self, state: JobState) -> None:
        """The job stands here now."""

    def round(self, done: RoundState) -> None:
        """A round is done."""

    def awaits(self, what: str) -> None:
        """The job cannot go on before this is there; nothing is awaited any more if empty."""


class _Clock(ProgressColumn):
    """The time since the beginning, as long as nothing is awaited."""

    def __init__(self) -> None:
        super().__init__()
        self._elapsed = TimeElapsedColumn()

    def render(self, task: Task) -> Text:
        """Show it, or that it means nothing now."""
        return Text("-:--:--") if task.fields["waits"] else self._elapsed.render(task)


class Bar:
    """A bar of rounds that moves, with the rounds that are done above it."""

    def __init__(self) -> None:
        self._progress = Progress(
            # Names and reasons are the words of others: no markup is read in them.
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[rounds]}"),
            TextColumn("{task.fields[accuracy]}", style="green", markup=False),
            TextColumn("{task.fields[news]}", style="dim", markup=False),
            _Clock(),
            console=display.out(),
        )
        self._task: TaskID | None = None
        self._shown = 0
        self._awaited = ""
        self._news = ""
        self._waits = False

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def state(self, state: JobState) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._progress.add_task(
                state.job, rounds="", accuracy="", news="", waits=False
            )
        news = state.reason or (counted(state.agents, "agent") if state.agents else "")
        self._news = (
            news if state.phase not in ENDED_PHASES else state.phase
        )  # whoever watches says why
        self._waits = bool(state.reason) and state.phase not in ENDED_PHASES
        self._progress.update(
            self._task,
            total=state.num_rounds,
            completed=state.round if state.phase not in ENDED_PHASES else state.num_rounds,
            rounds=f"round {state.round} of {state.num_rounds}",
            accuracy=display.metrics(display.held_out(state.metrics)),
        )
        self.awaits(self._awaited)

    def refresh(self) -> None:
        """Draw the bar now."""
        self._progress.refresh()

    def awaits(self, what: str) -> None:
        """Say it beside the bar, and stop the clock."""
        self._awaited = what
        if self._task is not None:
            news = f"awaiting {what}" if what else self._news
            self._progress.update(self._task, news=news, waits=bool(what) or self._waits)

    def round(self, done: RoundState) -> None:
        """Write the round above the bar."""
        if done.round > self._shown:
            self._shown = done.round
            self._progress.console.print(round_line(done))


class Lines:
    """A line for each round and for each change of mind: for logs and pipes."""

    def __init__(self) -> None:
        self._said = ""
        self._shown = 0

    def state(self, state: JobState) -> None:
        """Say what changed."""
        line = f"{state.job} {state.phase}" + (f": {state.reason}" if state.reason else "")
        # How it ended, whoever watches says.
        if line != self._said and state.phase not in ENDED_PHASES:
            self._said = line
            print(line, flush=True)

    def round(self, done: RoundState) -> None:
        """Say what came of a round."""
        if done.round > self._shown:
            self._shown = done.round
            print(round_line(done), flush=True)

    def awaits(self, what: str) -> None:
        """Say it, and that it is over."""
        print(f"awaiting {what}" if what else "nothing is awaited any more", flush=True)


class Json:
    """One JSON object a line: the states, as they are published."""

    def state(self, state: JobState) -> None:
        """Print it."""
        display.print_line(codec.to_plain(state))

    def round(self, done: RoundState) -> None:
        """States say enough."""

    def awaits(self, what: str) -> None:
        """Say it on the other stream: this one is for states."""
        display.err().print(f"awaiting {what}" if what else "nothing is awaited any more")


def round_line(done: RoundState) -> str:
    """Write one finished round."""
    refused = f", {len(done.refusals)} refused" if done.refusals else ""
    metrics = display.metrics(display.held_out(done.metrics)) or "no metrics"
    return (
        f"round {done.round:>3}  {metrics}  "
        f"{counted(len(done.contributors), 'agent')}{refused}, {counted(done.examples, 'example')}"
    )


async def watch(
    here: BrokerLogin, job: str, *, as_json: bool = False, submitted: bool = False
) -> JobState:
    """Show a job's progress until it has ended.

    Raises:
        BusError: the broker was away for too long.
        Refused: there is no such job, unless it was `submitted` a moment ago.
    """
    if as_json:
        return await until_ended(here, job, Json(), submitted=submitted)
    if sys.stdout.isatty():
        with Bar() as bar:
            return await until_ended(here, job, bar, submitted=submitted)
    return await until_ended(here, job, Lines(), submitted=submitted)


async def until_ended(
    here: BrokerLogin, job: str, view: View, *, submitted: bool = False
) -> JobState:
    """Show what becomes of a job, over as many connections as it takes; return how it ended.

    Raises:
        BusError: the broker was away for too long, or from the beginning.
        Refused: there is no such job, unless it was `submitted` a moment ago.
    """
    async with (
        Client(here, display.warn) as fed,
        aclosing(fed.follow(job, submitted=submitted)) as news,
    ):
        return await shown(news, view)


async def shown(news: AsyncIterable[JobNews], view: View) -> JobState:
    """Show news until one is the job's end, and return that."""
    async for each in news:
        match each:
            case JobState():
                view.state(each)
                if each.phase in ENDED_PHASES:
                    return each
            case RoundState():
                view.round(each)
            case Awaiting(what):
                view.awaits(what)
    raise AssertionError  # news end with the job
