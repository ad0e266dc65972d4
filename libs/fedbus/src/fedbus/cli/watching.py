"""A job's progress until it ends: a bar on a terminal, lines elsewhere, JSON for programs."""

import asyncio
import math
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Protocol, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fedbus import clock
from fedbus.bus.base import Packet
from fedbus.cli import show
from fedbus.cli.client import connected
from fedbus.cli.exits import Refused
from fedbus.cli.where import Where
from fedbus.errors import BusError
from fedbus.wire import codec
from fedbus.wire.states import ENDED, JobState, RoundState
from fedbus.wire.topics import JOB_STATE, ROUND_STATE, matches

AWAY_SECONDS = 30.0
RETRY_SECONDS = 2.0
"""Long enough for another command, which threw us out by using the same account, to be done."""


class View(Protocol):
    """Something that shows a job's news."""

    def state(self, state: JobState) -> None:
        """The job stands here now."""

    def round(self, done: RoundState) -> None:
        """A round is done."""


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
            TimeElapsedColumn(),
            console=show.out(),
        )
        self._task: TaskID | None = None
        self._shown = 0

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
            self._task = self._progress.add_task(state.job, rounds="", accuracy="", news="")
        news = state.reason or (f"{state.agents} agents" if state.agents else "")
        self._progress.update(
            self._task,
            total=state.num_rounds,
            completed=state.round if state.phase not in ENDED else state.num_rounds,
            rounds=f"round {state.round} of {state.num_rounds}",
            accuracy=show.metrics(show.held_out(state.metrics)),
            news=news if state.phase not in ENDED else state.phase,  # whoever watches says why
        )

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
        if line != self._said and state.phase not in ENDED:
            self._said = line
            print(line, flush=True)

    def round(self, done: RoundState) -> None:
        """Say what came of a round."""
        if done.round > self._shown:
            self._shown = done.round
            print(round_line(done), flush=True)


class Json:
    """One JSON object a line: the states, as they are published."""

    def state(self, state: JobState) -> None:
        """Print it."""
        show.print_line(codec.to_plain(state))

    def round(self, done: RoundState) -> None:
        """States say enough."""


def round_line(done: RoundState) -> str:
    """Write one finished round."""
    refused = f", {len(done.refusals)} refused" if done.refusals else ""
    return (
        f"round {done.round:>3}  {show.metrics(show.held_out(done.metrics)) or 'no metrics'}  "
        f"{len(done.contributors)} agents{refused}, {done.examples} examples"
    )


async def watch(
    where: Where, job: str, *, as_json: bool = False, submitted: bool = False
) -> JobState:
    """Show a job's progress until it has ended.

    Raises:
        BusError: the broker was away for too long.
        Refused: there is no such job, unless it was `submitted` a moment ago.
    """
    if as_json:
        return await until_ended(where, job, Json(), submitted=submitted)
    if sys.stdout.isatty():
        with Bar() as bar:
            return await until_ended(where, job, bar, submitted=submitted)
    return await until_ended(where, job, Lines(), submitted=submitted)


async def until_ended(where: Where, job: str, view: View, *, submitted: bool = False) -> JobState:
    """Follow a job to its end, over as many connections as it takes.

    Raises:
        BusError: the broker was away for too long, or from the beginning.
        Refused: there is no such job, unless it was `submitted` a moment ago.
    """
    seen, lost_at = False, None
    while True:
        try:
            async with aclosing(news(where, job, submitted=submitted)) as heard:
                async for packet in heard:
                    seen, lost_at = True, None
                    state = shown(where, packet, view)
                    if state is not None and state.phase in ENDED:
                        return state
        except BusError:
            # The broker, or we, may be back in a moment; the job goes on without being watched.
            lost_at = clock.monotonic() if lost_at is None else lost_at
            if not seen or clock.monotonic() - lost_at > AWAY_SECONDS:
                raise
            await asyncio.sleep(RETRY_SECONDS)


async def news(where: Where, job: str, *, submitted: bool) -> AsyncGenerator[Packet, None]:
    """Tell what is known of a job, then what is said of it, on one connection."""
    state = where.topic(JOB_STATE, job=job)
    rounds = where.topic(ROUND_STATE, job=job, round="+")
    async with connected(where) as client:
        known = await client.retained(state, rounds)
        if not submitted and not any(packet.topic == state for packet in known):
            raise Refused(f"no job {job!r} is known; `fedbus job list` names those that are")
        for packet in sorted(known, key=in_order):
            yield packet
        async for packet in client.heard():
            yield packet


def in_order(packet: Packet) -> float:
    """Rounds first, by number: the state may be the last word."""
    last = packet.topic.rpartition("/")[2]
    return float(last) if last.isdigit() else math.inf


def shown(where: Where, packet: Packet, view: View) -> JobState | None:
    """Show what a packet holds; a state is returned."""
    if matches(where.topic(ROUND_STATE, job="+", round="+"), packet.topic):
        view.round(codec.from_json(RoundState, packet.payload))
        return None
    state = codec.from_json(JobState, packet.payload)
    view.state(state)
    return state
