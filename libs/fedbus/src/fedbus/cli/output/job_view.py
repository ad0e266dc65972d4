"""A job's progress until it ends: a bar on a terminal, lines elsewhere, JSON for programs."""

import asyncio
import math
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
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

from fedbus.cli.missing_services import Awaited
from fedbus.cli.output import display
from fedbus.client.address import Where
from fedbus.client.connection import connected
from fedbus.client.failures import Refused
from fedbus.core import clock
from fedbus.errors import BusError, WireError
from fedbus.mqtt.bus import Packet
from fedbus.text import counted
from fedbus.wire import codec
from fedbus.wire.documents import ENDED, JobState, NodeState, RoundState
from fedbus.wire.topics import JOB_STATE, NODE_STATE, ROUND_STATE, matches

AWAY_SECONDS = 300.0
"""How long a broker that was there may be away: it may be updated, or its machine started anew."""
RETRY_SECONDS = 2.0
"""Long enough for another command, which threw us out by using the same account, to be done."""


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
        self._news = news if state.phase not in ENDED else state.phase  # whoever watches says why
        self._waits = bool(state.reason) and state.phase not in ENDED
        self._progress.update(
            self._task,
            total=state.num_rounds,
            completed=state.round if state.phase not in ENDED else state.num_rounds,
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
        if line != self._said and state.phase not in ENDED:
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
    absences = _Absences(view)
    while True:
        try:
            async with aclosing(news(where, job, submitted=submitted)) as heard:
                absences.begin()
                async for packet in heard:
                    seen, lost_at = True, None
                    if packet is None:
                        absences.all_told()
                    elif not absences.took(where, packet):
                        state = shown(where, packet, view)
                        if state is not None and state.phase in ENDED:
                            return state
        except BusError as error:
            # The broker, or we, may be back in a moment; the job goes on without being watched.
            lost_at = clock.monotonic() if lost_at is None else lost_at
            if not seen or clock.monotonic() - lost_at > AWAY_SECONDS:
                raise
            absences.lost(str(error))
            await asyncio.sleep(RETRY_SECONDS)


class _Absences:
    """Tells a view who is missing, once all that is retained was heard on a connection."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._awaited = Awaited()
        self._said = ""
        self._complete = False

    def begin(self) -> None:
        """A new connection tells everything anew."""
        self._awaited.connected()
        self._complete = False

    def all_told(self) -> None:
        """All that was retained is told: who was not named is not there."""
        self._complete = True
        self._say()

    def took(self, where: Where, packet: Packet) -> bool:
        """Take what says who is there; tell whether it was that."""
        if not matches(where.topic(NODE_STATE, node="+"), packet.topic):
            return False
        with suppress(WireError):  # a node of another version, which is none of our services
            self._awaited.hear(codec.from_json(NodeState, packet.payload))
        if self._complete:
            self._say()
        return True

    def lost(self, why: str) -> None:
        """The connection is lost."""
        self._awaited.lost(why)
        self._say()

    def _say(self) -> None:
        if (line := self._awaited.line) != self._said:
            self._said = line
            self._view.awaits(line)


async def news(where: Where, job: str, *, submitted: bool) -> AsyncGenerator[Packet | None, None]:
    """Tell what is known of a job and its services, None, then what is said, on one connection."""
    state = where.topic(JOB_STATE, job=job)
    rounds = where.topic(ROUND_STATE, job=job, round="+")
    async with connected(where) as client:
        known = await client.retained(state, rounds, where.topic(NODE_STATE, node="+"))
        if not submitted and not any(packet.topic == state for packet in known):
            raise Refused(f"no job {job!r} is known; `fedbus job list` names those that are")
        for packet in sorted(known, key=in_order):
            yield packet
        yield None
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
