"""Views of a job's progress: a bar on a terminal, lines in a pipe, JSON for programs."""

import asyncio
import sys
from collections.abc import AsyncIterable
from contextlib import aclosing, nullcontext
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

from fedbus.cli.exit_codes import Interrupted
from fedbus.cli.output import display
from fedbus.cli.output.epsilon_text import format_epsilon
from fedbus.cli.output.job_lines import report_end, round_line
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.client.job_reports import Awaiting, JobNews
from fedbus.text import counted
from fedbus.wire import codec
from fedbus.wire.documents import ENDED_PHASES, JobState, RoundState


class View(Protocol):
    """A display of a job's progress."""

    def state(self, state: JobState) -> None:
        """Show the job's state."""

    def round(self, done: RoundState) -> None:
        """Show a finished round."""

    def awaiting(self, what: str) -> None:
        """Show what the job waits for; an empty text ends the wait."""


class _Clock(ProgressColumn):
    """The elapsed time, hidden while the job waits."""

    def __init__(self) -> None:
        super().__init__()
        self._elapsed = TimeElapsedColumn()

    def render(self, task: Task) -> Text:
        """Return the time, or dashes while the job waits."""
        return Text("-:--:--") if task.fields["waits"] else self._elapsed.render(task)


class ProgressBarView:
    """A progress bar of rounds, with finished rounds above it."""

    def __init__(self) -> None:
        self._progress = Progress(
            # Names and reasons come from other machines: markup in them is not interpreted.
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

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def state(self, state: JobState) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._progress.add_task(
                state.job, rounds="", accuracy="", news="", waits=False
            )
        news = state.reason or (counted(state.agents, "agent") if state.agents else "")
        ended = state.phase in ENDED_PHASES  # then the caller prints the reason
        spent = state.privacy
        epsilon = "" if spent is None else f"ε {format_epsilon(spent.epsilon)}"
        self._news = state.phase if ended else news
        self._waits = bool(state.reason) and not ended
        self._progress.update(
            self._task,
            total=state.num_rounds,
            completed=state.num_rounds if ended else state.round,
            rounds=f"round {state.round} of {state.num_rounds}",
            accuracy="  ".join(filter(None, (display.format_held_out(state.metrics), epsilon))),
        )
        self.awaiting(self._awaited)

    def refresh(self) -> None:
        """Draw the bar now."""
        self._progress.refresh()

    def awaiting(self, what: str) -> None:
        """Show the reason beside the bar, and hide the time."""
        self._awaited = what
        if self._task is not None:
            news = f"awaiting {what}" if what else self._news
            self._progress.update(self._task, news=news, waits=bool(what) or self._waits)

    def round(self, done: RoundState) -> None:
        """Print the round above the bar."""
        if done.round > self._shown:
            self._shown = done.round
            self._progress.console.print(round_line(done))


class LinesView:
    """A line for each round and each change of the job's phase or reason."""

    def __init__(self) -> None:
        self._printed = ""
        self._shown = 0

    def state(self, state: JobState) -> None:
        """Print the phase and reason if they changed; the caller reports the end."""
        line = f"{state.job} {state.phase}" + (f": {state.reason}" if state.reason else "")
        if line != self._printed and state.phase not in ENDED_PHASES:
            self._printed = line
            print(line, flush=True)

    def round(self, done: RoundState) -> None:
        """Print the round."""
        if done.round > self._shown:
            self._shown = done.round
            print(round_line(done), flush=True)

    def awaiting(self, what: str) -> None:
        """Print what the job waits for, and the end of the wait."""
        print(f"awaiting {what}" if what else "nothing is awaited any more", flush=True)


class JsonView:
    """One JSON object per line: the job's states as they are published."""

    def state(self, state: JobState) -> None:
        """Print the state."""
        display.print_line(codec.to_plain(state))

    def round(self, done: RoundState) -> None:
        """Print nothing: states have the number of rounds."""

    def awaiting(self, what: str) -> None:
        """Print on standard error: standard output is for states."""
        display.err().print(f"awaiting {what}" if what else "nothing is awaited any more")


async def watch(
    here: BrokerLogin, job: str, *, as_json: bool = False, submitted: bool = False
) -> JobState:
    """Show a job's progress until it has ended.

    Raises:
        BusError: the broker was unreachable for too long.
        Refused: the job does not exist and was not `submitted` a moment ago.
    """
    view = JsonView() if as_json else ProgressBarView() if sys.stdout.isatty() else LinesView()
    async with (
        Client(here, display.warn) as fed,
        aclosing(fed.follow(job, submitted=submitted)) as news,
    ):
        with view if isinstance(view, ProgressBarView) else nullcontext():
            return await show_news(news, view)


async def show_news(news: AsyncIterable[JobNews], view: View) -> JobState:
    """Show news until the job has ended; return its last state."""
    async for each in news:
        match each:
            case JobState():
                view.state(each)
                if each.phase in ENDED_PHASES:
                    return each
            case RoundState():
                view.round(each)
            case Awaiting(what):
                view.awaiting(what)
    raise AssertionError  # the stream of news ends with the job


def watch_to_end(here: BrokerLogin, job: str, *, as_json: bool, submitted: bool = False) -> None:
    """Show a job's progress until it has ended, and report its end; Ctrl-C leaves the job running.

    Raises:
        Interrupted: Ctrl-C was pressed.
        Failed: the job failed or was cancelled.
        BusError, Refused: as for `watch`.
    """
    try:
        end = asyncio.run(watch(here, job, as_json=as_json, submitted=submitted))
    except KeyboardInterrupt:
        raise Interrupted(
            f"job {job} continues; `fedbus job watch {job}` shows it, `fedbus job cancel {job}` "
            "cancels it"
        ) from None
    report_end(end, as_json=as_json)
