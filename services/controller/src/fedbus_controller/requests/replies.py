"""Replies to requests, as JSON; none to a request that has no reply topic. Pure."""

import json
from collections.abc import Iterator, Sequence

from fedbus.core.actions import Reply
from fedbus.core.events import ReplyTo
from fedbus.jobs import JobFault, write_refusal
from fedbus.wire.messages import JobLoaded


def accepted_reply(
    to: ReplyTo | None, stored: JobLoaded, warnings: Sequence[str] = (), *, known: bool = False
) -> Iterator[Reply]:
    """Reply that a job is stored; add its state if it was `known` before the submission."""
    job = stored.job
    content: dict[str, object] = {"accepted": True, "job": job, "watch": f"jobs/{job}/state"}
    if warnings:
        content["warnings"] = list(warnings)
    if known:
        content |= {
            "known": True,
            "phase": stored.phase,
            "rounds": stored.rounds,
            "metrics": stored.metrics,
            "submitted": stored.submitted,
            "ended": stored.ended,
            "note": describe_known(stored),
        }
    return _reply(to, content)


def describe_known(stored: JobLoaded) -> str:
    """Describe the state of a job that was submitted again."""
    if stored.phase == "running":
        return (
            f"the same job was submitted at {stored.submitted} and goes on: {stored.rounds} rounds "
            "are done"
        )
    metrics = ", ".join(
        f"{name} {value:.4g}"
        for name, value in sorted(stored.metrics.items())
        if not name.startswith("train_")
    )
    results = f" with {metrics}" if metrics else ""
    reason = f" ({stored.reason})" if stored.reason else ""
    return (
        f"the same job has {stored.phase} already at {stored.ended} after {stored.rounds} rounds"
        f"{results}{reason}; nothing runs: to train again, send the file with another training_id, "
        "or with none"
    )


def refused_reply(to: ReplyTo | None, job: str, faults: tuple[JobFault, ...]) -> Iterator[Reply]:
    """Reply to a refused job file with all its faults."""
    return _reply(to, write_refusal(job, faults))


def cancel_reply(to: ReplyTo | None, job: str, reason: str) -> Iterator[Reply]:
    """Reply to a cancellation; a reason means that the job is not cancelled."""
    return _reply(to, {"job": job, "cancelled": not reason} | _reason(reason))


def forget_reply(to: ReplyTo | None, job: str, reason: str) -> Iterator[Reply]:
    """Reply to a request to remove a job from lists; a reason means that it is not removed."""
    return _reply(to, {"job": job, "forgotten": not reason} | _reason(reason))


def _reason(reason: str) -> dict[str, object]:
    return {"reason": reason} if reason else {}


def _reply(to: ReplyTo | None, content: dict[str, object]) -> Iterator[Reply]:
    if to is not None:
        yield Reply(to, json.dumps(content).encode(), "application/json")
