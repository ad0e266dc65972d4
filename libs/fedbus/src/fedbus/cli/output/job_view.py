"""Views of a job's progress: a bar on a terminal, lines in a pipe, JSON for programs."""

import sys
from collections.abc import AsyncIterable, Sequence
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

from fedbus.cli.output import display
from fedbus.cli.output.epsilon_text import format_epsilon, format_spent, format_sum, is_alone
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.client.failures import Failed
from fedbus.client.results import Awaiting, JobNews
from fedbus.energy.energy_sums import format_energy
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


def round_line(done: RoundState) -> str:
    """Format one finished round."""
    metrics = display.format_held_out(done.metrics) or "no metrics"
    if done.privacy is not None:
        return f"round {done.round:>3}  {metrics}  {format_spent(done.privacy)}"
    left_out = f", {len(done.refusals)} left out" if done.refusals else ""
    energy = "" if done.energy is None else f", {format_energy(done.energy, phases=False)}"
    return (
        f"round {done.round:>3}  {metrics}  "
        f"{counted(len(done.contributors), 'agent')}{left_out}, {counted(done.examples, 'example')}"
        f"{energy}{_traffic_text(done)}"
    )


def _traffic_text(done: RoundState) -> str:
    """Format what a round has sent, if it is not the weights of the model as they are."""
    moved, agents = done.traffic, len(done.contributors)
    if moved is None or not moved.plain or not agents:
        return ""
    made = ""
    up, down = moved.updates / (agents * moved.plain), moved.version / moved.plain
    if round(100 * up) != 100:  # noqa: PLR2004 - per cent
        made += f", updates: {display.format_size(moved.updates)}, {100 * up:.0f} % of plain"
    if moved.version != moved.plain:
        made += f", version: {display.format_size(moved.version)}, {100 * down:.0f} %"
    return made


def format_traffic_sum(rounds: Sequence[RoundState]) -> str:
    """Format the bytes of all rounds that tell them, and what steps have saved; "" if none does.

    Each contributor downloads the version and sends an update; without steps both have the bytes of
    the plain weights. Agents whose updates were refused are not counted.
    """
    told = [done for done in rounds if done.traffic is not None and done.contributors]
    if not told:
        return ""
    updates = sum(done.traffic.updates for done in told if done.traffic)
    versions = sum(done.traffic.version * len(done.contributors) for done in told if done.traffic)
    plain = sum(done.traffic.plain * len(done.contributors) for done in told if done.traffic)
    share = 100 * (updates + versions) / (2 * plain) if plain else 100
    saved = f", {share:.0f} % of plain" if round(share) != 100 else ""  # noqa: PLR2004 - per cent
    missing = f", in {len(told)} of {len(rounds)} rounds" if len(told) < len(rounds) else ""
    return (
        f"updates {display.format_size(updates)}, versions {display.format_size(versions)}"
        f"{saved}{missing}"
    )


def report_end(end: JobState, *, as_json: bool) -> None:
    """Print how a finished job ended, unless its states were printed as JSON.

    Raises:
        Failed: the job failed or was cancelled.
    """
    if end.phase != "finished":
        raise Failed(f"job {end.job} {end.phase}: {end.reason}")
    if not as_json:
        display.show(f"job {end.job} finished: {end.reason}")
        metrics = display.format_metrics(end.metrics) or "no metrics"
        display.show(f"{end.model} version {end.version}: {metrics}")
        if end.energy is not None:
            display.show(f"job {end.job} has used {format_energy(end.energy)}")
        if end.privacy is not None:
            display.show(f"job {end.job} has spent {format_spent(end.privacy)}")
        if end.privacy is not None and not is_alone(end.privacy):
            display.show(
                f"all jobs on {end.model} have spent {format_sum(end.privacy)}; "
                f"`fedbus privacy show {end.model}` explains it"
            )


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
