"""A job file at the door: read it, answer its sender. Pure."""

import json
import re
from collections.abc import Callable, Iterator

from fedbus.actions import Reply, ReplyTo
from fedbus.wire.jobfile import Fault, JobFile, JobFileError, Plugins, parse
from fedbus.wire.values import IDENT

MAX_JOB_FILE = 256 * 1024

PluginCheck = Callable[[Plugins], Iterator[Fault]]
"""Finds what of a job's choice is not here, or not allowed, or of no use."""


def read_job(payload: bytes, check_plugins: PluginCheck) -> JobFile:
    """Read a submitted job file.

    Raises:
        JobFileError: with every fault found.
    """
    if len(payload) > MAX_JOB_FILE:
        raise JobFileError(
            (Fault(key="", problem=f"{len(payload)} bytes, at most {MAX_JOB_FILE}"),)
        )
    return parse(payload, lambda job: check_plugins(job.plugins))


def accepted(to: ReplyTo, job: str) -> Reply:
    """Say that the job is stored, and where to watch it."""
    return _reply(to, {"accepted": True, "job": job, "watch": f"jobs/{job}/state"})


def refused(to: ReplyTo, job: str, faults: tuple[Fault, ...]) -> Reply:
    """Say why not: every fault with its key and a hint."""
    listed = [{"key": f.key, "problem": f.problem, "hint": f.hint} for f in faults]
    return _reply(to, {"accepted": False, "job": job, "faults": listed})


def canceled(to: ReplyTo, job: str, reason: str) -> Reply:
    """Answer a cancellation; an empty reason means that it will be done."""
    said: dict[str, object] = {"job": job, "cancelled": not reason}
    return _reply(to, {**said, "reason": reason} if reason else said)


def too_late(phase: str, reason: str) -> str:
    """Say why a job that has ended is not cancelled; one that was needs no second cancellation."""
    return "" if phase == "cancelled" else f"it has already {phase}: {reason}"


def job_named(payload: bytes) -> str | None:
    """Read a job's id from a cancellation: bare, as a JSON string, or as `{"job": id}`."""
    text = payload[:512].decode("utf-8", "replace").strip()
    try:
        said = json.loads(text)
    except ValueError:
        said = text
    if isinstance(said, dict):
        said = said.get("job", "")
    return said if isinstance(said, str) and re.fullmatch(IDENT, said) else None


def _reply(to: ReplyTo, said: dict[str, object]) -> Reply:
    return Reply(to, json.dumps(said).encode(), "application/json")
