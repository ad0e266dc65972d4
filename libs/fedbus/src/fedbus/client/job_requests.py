"""Jobs of a deployment: submit, cancel, list, follow to the end."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any

from fedbus.client.connection import ClientConnection
from fedbus.client.failures import JobRefused, Refused
from fedbus.client.job_reports import Awaiting, JobHistory, JobNews, Submission
from fedbus.client.missing_services import MissingServices
from fedbus.core import clock
from fedbus.errors import BusError, WireError
from fedbus.mqtt.bus import Packet
from fedbus.wire import codec
from fedbus.wire.documents import ENDED_PHASES, JobState, NodeState, RoundState
from fedbus.wire.topic_names import matches
from fedbus.wire.topics import CANCEL, FORGET, JOB_STATE, NODE_STATE, ROUND_STATE, SUBMIT, Topic

CONTROLLER = "the controller"
AWAY_SECONDS = 300.0
"""How long a broker that was there may be away: it, or its machine, may be restarted."""
RETRY_SECONDS = 2.0


async def submit(connection: ClientConnection, payload: bytes) -> Submission:
    """Submit a job file.

    Raises:
        JobRefused: the controller found faults in it; all of them.
        Unreachable: the controller does not answer.
    """
    answer = await _ask(connection, SUBMIT, payload)
    if not answer.get("accepted"):
        raise JobRefused(answer)
    return Submission(
        job=str(answer["job"]),
        known=bool(answer.get("known")),
        phase=str(answer.get("phase") or ""),
        warnings=tuple(map(str, answer.get("warnings", ()))),
        answer=answer,
    )


async def cancel(connection: ClientConnection, job: str) -> None:
    """Cancel a job.

    Raises:
        Refused: there is no such job, or it has ended.
        Unreachable: the controller does not answer.
    """
    await _request_change(connection, CANCEL, job, "cancelled")


async def forget(connection: ClientConnection, job: str) -> None:
    """Delete what the broker retains of an ended job.

    Raises:
        Refused: there is no such job, or it has not ended.
        Unreachable: the controller does not answer.
    """
    await _request_change(connection, FORGET, job, "forgotten")


async def _request_change(connection: ClientConnection, topic: Topic, job: str, done: str) -> None:
    answer = await _ask(connection, topic, job.encode())
    if not answer.get(done):
        reason = answer.get("reason", "no reason was given")
        raise Refused(f"job {job} is not {done}: {reason}", answer)


async def _ask(connection: ClientConnection, topic: Topic, payload: bytes) -> dict[str, Any]:
    packet = await connection.requests.send(
        connection.login.topic(topic),
        payload,
        of=CONTROLLER,
        content_type="application/json" if topic is SUBMIT else None,
        kept=topic.kept,
    )
    answer: dict[str, Any] = json.loads(packet.payload)
    return answer


async def jobs(connection: ClientConnection) -> tuple[JobState, ...]:
    """Fetch the states of all jobs that the broker retains, the newest last."""
    packets = await connection.retained(connection.login.topic(JOB_STATE, job="+"))
    states = [codec.from_json(JobState, packet.payload) for packet in packets]
    return tuple(sorted(states, key=lambda state: state.submitted or ""))


async def job(connection: ClientConnection, name: str) -> JobHistory:
    """Fetch a job's state and its finished rounds.

    Raises:
        Refused: no such job is known.
    """
    state_topic = connection.login.topic(JOB_STATE, job=name)
    rounds_topic = connection.login.topic(ROUND_STATE, job=name, round="+")
    packets = await connection.retained(state_topic, rounds_topic)
    payloads = {packet.topic: packet.payload for packet in packets}
    if state_topic not in payloads:
        raise _unknown(name)
    state = codec.from_json(JobState, payloads.pop(state_topic))
    rounds = [codec.from_json(RoundState, payload) for payload in payloads.values()]
    return JobHistory(state, tuple(sorted(rounds, key=lambda done: done.round)))


async def follow(
    connection: ClientConnection,
    name: str,
    *,
    submitted: bool = False,
    away_seconds: float = AWAY_SECONDS,
) -> AsyncGenerator[JobNews, None]:
    """Yield a job's states and finished rounds, and what it waits for, until the job has ended.

    After a lost connection the broker repeats what it retains, and so does this iterator. A broker
    that was killed may have lost the job's state: the controller publishes it again.

    Args:
        connection: The broker.
        name: The job's id.
        submitted: Whether it was submitted a moment ago, and so need not be known yet.
        away_seconds: How long a broker that was online may be offline, and then how long it may
            lack the state of a job that was seen.

    Raises:
        BusError: the broker was unreachable for too long, or from the beginning.
        Refused: there is no such job, and it was not `submitted`.
    """
    lost_at: float | None = None
    absent_seconds = math.inf if submitted else 0.0
    seen, missing = False, _Missing()
    while True:
        packets = news(connection, name, absent_seconds=absent_seconds)
        try:
            missing.connected()
            async for packet in packets:
                seen, lost_at = True, None
                for each in _read(connection, packet, missing):
                    if isinstance(each, JobState):
                        absent_seconds = away_seconds
                    yield each
                    if isinstance(each, JobState) and each.phase in ENDED_PHASES:
                        return
        except BusError as error:
            # The broker, or we, may be back in a moment; the job goes on without being watched.
            lost_at = clock.monotonic() if lost_at is None else lost_at
            if not seen or clock.monotonic() - lost_at > away_seconds:
                raise
            if line := missing.lost(str(error)):
                yield line
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            await packets.aclose()


def _read(
    connection: ClientConnection, packet: Packet | None, missing: "_Missing"
) -> Sequence[JobNews]:
    """Read one packet of `news`."""
    if packet is None:
        return missing.complete()
    if matches(connection.login.topic(NODE_STATE, node="+"), packet.topic):
        return missing.heard(packet)
    if matches(connection.login.topic(ROUND_STATE, job="+", round="+"), packet.topic):
        return (codec.from_json(RoundState, packet.payload),)
    return (codec.from_json(JobState, packet.payload),)


async def news(
    connection: ClientConnection, name: str, *, absent_seconds: float
) -> AsyncGenerator[Packet | None, None]:
    """Yield what is retained of a job and of all nodes, None, then what is published.

    Raises:
        BusError: the connection is lost.
        Refused: the job's state is not retained and is not published within `absent_seconds`.
    """
    until = asyncio.get_running_loop().time() + absent_seconds
    at = connection.login
    state = at.topic(JOB_STATE, job=name)
    rounds = at.topic(ROUND_STATE, job=name, round="+")
    async with connection.subscribed(state, rounds, at.topic(NODE_STATE, node="+")) as subscription:
        known = await connection.all_retained(subscription)
        found = any(packet.topic == state for packet in known)
        if not (found or absent_seconds):
            raise _unknown(name)
        for packet in sorted(known, key=in_order):
            yield packet
        yield None
        while not found:
            try:
                async with asyncio.timeout_at(until):
                    packet = await subscription.read()
            except TimeoutError:
                raise _unknown(name) from None
            if packet.payload:
                found = packet.topic == state
                yield packet
        async for packet in subscription.news():
            yield packet


def in_order(packet: Packet) -> float:
    """Sort rounds by number, and the state behind them: it may be the last word."""
    last = packet.topic.rpartition("/")[2]
    return float(last) if last.isdigit() else math.inf


def _unknown(name: str) -> Refused:
    return Refused(f"no job {name!r} is known; `fedbus job list` names those that are")


class _Missing:
    """What a job waits for outside of itself, each change once."""

    def __init__(self) -> None:
        self._services = MissingServices()
        self._told = ""
        self._complete = False

    def connected(self) -> None:
        """Begin again: a new connection repeats everything."""
        self._services.connected()
        self._complete = False

    def complete(self) -> Sequence[Awaiting]:
        """All that was retained is read: a node that was not named is not there."""
        self._complete = True
        return self._change()

    def heard(self, packet: Packet) -> Sequence[Awaiting]:
        """Read a node's state."""
        with suppress(WireError):  # a node of another version, which is none of our services
            self._services.hear(codec.from_json(NodeState, packet.payload))
        return self._change() if self._complete else ()

    def lost(self, why: str) -> Awaiting | None:
        """Note that the connection is lost."""
        self._services.lost(why)
        return next(iter(self._change()), None)

    def _change(self) -> Sequence[Awaiting]:
        if (line := self._services.line) == self._told:
            return ()
        self._told = line
        return (Awaiting(line),)
