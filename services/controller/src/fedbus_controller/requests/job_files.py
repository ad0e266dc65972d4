"""A job file at the door: read it, answer its sender. Pure."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from fedbus.core.actions import Reply
from fedbus.core.events import ReplyTo
from fedbus.errors import WireError
from fedbus.jobs import JobFault, JobFile, JobFileError, Plugins, parse, write_refusal
from fedbus.jobs.json_tree import read
from fedbus.limits import MAX_JOB_FILE_BYTES
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.text import listed
from fedbus.wire.json_reader import read_json
from fedbus.wire.messages import JobLoaded

NO_ID = "not a job's id; send it bare, or as a JSON string"

PluginCheck = Callable[[Plugins], Iterator[JobFault]]
"""Finds what of a job's choice is not here, or not allowed, or of no use."""


def read_job(payload: bytes, check_plugins: PluginCheck) -> JobFile:
    """Read a submitted job file.

    Raises:
        JobFileError: with every fault found.
    """
    if len(payload) > MAX_JOB_FILE_BYTES:
        raise JobFileError(
            (JobFault(key="", problem=f"{len(payload)} bytes, at most {MAX_JOB_FILE_BYTES}"),)
        )
    return parse(payload, lambda job: check_plugins(job.plugins))


def job_of_file(file: JobFile, place: str) -> JobFile:
    """Check that a job file that is retained on the topic of an id has that id, or none.

    Raises:
        JobFileError: it has another.
    """
    if place and not re.fullmatch(IDENT, place):
        problem = f"published to jobs/{place[:80]}/request, which is no job id: {IDENT_SAID}"
        raise JobFileError((JobFault(key="", problem=problem),))
    if place and file.training_id not in {place, None}:
        problem = f"{file.training_id!r}, but it was published to jobs/{place[:80]}/request"
        raise JobFileError((JobFault(key="training_id", problem=problem),))
    return file


def named_in(payload: bytes, *, cancel: bool, place: str) -> str:
    """Read a job's id as far as it can be read, however wrong the rest is; "" where it cannot."""
    if place:
        return place if re.fullmatch(IDENT, place) else ""
    if cancel:
        return job_named(payload) or ""
    try:
        tree = read(payload)
    except JobFileError:
        return ""
    job = tree.get("training_id") if isinstance(tree, dict) else None
    return job if isinstance(job, str) and re.fullmatch(IDENT, job) else ""


def unjudged(payload: bytes) -> tuple[str, ...]:
    """Warn of targets that figures of training will judge, where no evaluator is online."""
    targets = parse(payload).targets
    if not targets:
        return ()
    warning = (
        f"stopping_target {listed(targets)}: no evaluator is online, so the figures of the data "
        "that agents train on will judge it; an agent with FEDBUS_ROLES=evaluate and data of its "
        "own scores each version (docs/first-device.md)"
    )
    return (warning,)


def awaited(payload: bytes, online: int) -> tuple[str, ...]:
    """Warn of a job that begins no round with the agents that are online."""
    wish = parse(payload).round
    if online >= wish.quorum:
        return ()
    there = f"{online} {'is' if online == 1 else 'are'} online"
    warning = (
        f"waiting for agents: {there}, {wish.agents} wanted, {wish.quorum} needed "
        "(round.agents and round.quorum); the job begins when they are there"
    )
    return (warning,)


def accepted(
    to: ReplyTo, stored: JobLoaded, warnings: Sequence[str] = (), *, known: bool = False
) -> Reply:
    """Say that the job is stored, and where to watch it; one that was before, how it stands."""
    job = stored.job
    said: dict[str, object] = {"accepted": True, "job": job, "watch": f"jobs/{job}/state"}
    if warnings:
        said["warnings"] = list(warnings)
    if known:
        said |= {
            "known": True,
            "phase": stored.phase,
            "rounds": stored.rounds,
            "metrics": stored.metrics,
            "submitted": stored.submitted,
            "ended": stored.ended,
            "note": standing(stored),
        }
    return _reply(to, said)


def standing(stored: JobLoaded) -> str:
    """Say how a job stands that was here before it was sent again."""
    if stored.phase == "running":
        return (
            f"the same job was submitted at {stored.submitted} and goes on: {stored.rounds} rounds "
            "are done"
        )
    figures = ", ".join(
        f"{name} {value:.4g}"
        for name, value in sorted(stored.metrics.items())
        if not name.startswith("train_")
    )
    results = f" with {figures}" if figures else ""
    why = f" ({stored.reason})" if stored.reason else ""
    return (
        f"the same job has {stored.phase} already at {stored.ended} after {stored.rounds} rounds"
        f"{results}{why}; nothing runs: to train again, send the file with another training_id, or "
        "with none"
    )


def refused(to: ReplyTo, job: str, faults: tuple[JobFault, ...]) -> Reply:
    """Reply to a refused job file with all its faults."""
    return _reply(to, write_refusal(job, faults))


def canceled(to: ReplyTo, job: str, reason: str) -> Reply:
    """Answer a cancellation; an empty reason means that it will be done."""
    said: dict[str, object] = {"job": job, "cancelled": not reason}
    return _reply(to, {**said, "reason": reason} if reason else said)


def forgotten(to: ReplyTo, job: str, reason: str) -> Reply:
    """Answer who wants a job to be listed no more; an empty reason means that it is done."""
    said: dict[str, object] = {"job": job, "forgotten": not reason}
    return _reply(to, {**said, "reason": reason} if reason else said)


def too_late(phase: str, reason: str) -> str:
    """Say why a job that has ended is not cancelled; one that was needs no second cancellation."""
    return "" if phase == "cancelled" else f"it has already {phase}: {reason}"


def job_named(payload: bytes) -> str | None:
    """Read a job's id from a cancellation: bare, as a JSON string, or as `{"job": id}`."""
    said: object = payload[:512].decode("utf-8-sig", "replace").strip()
    with suppress(WireError):
        said = read_json(payload)
    if isinstance(said, dict):
        said = said.get("job", "")
    return said if isinstance(said, str) and re.fullmatch(IDENT, said) else None


def _reply(to: ReplyTo, said: dict[str, object]) -> Reply:
    return Reply(to, json.dumps(said).encode(), "application/json")
