"""Job files and job ids in requests, parsed and checked. Pure."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress

from fedbus.errors import WireError
from fedbus.jobs import JobFault, JobFile, JobFileError, Plugins, parse
from fedbus.jobs.json_tree import read
from fedbus.limits import MAX_JOB_FILE_BYTES
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.wire.json_reader import read_json

NO_ID = "not a job's id; send it bare, or as a JSON string"

PluginCheck = Callable[[Plugins], Iterator[JobFault]]
"""Yields a fault for each plug-in of a job that is missing, not allowed or unsuitable."""


def read_job(payload: bytes, check_plugins: PluginCheck) -> JobFile:
    """Parse a submitted job file; raise JobFileError with every fault found."""
    if len(payload) > MAX_JOB_FILE_BYTES:
        problem = f"{len(payload)} bytes, at most {MAX_JOB_FILE_BYTES}"
        raise JobFileError((JobFault(key="", problem=problem),))
    return parse(payload, lambda job: check_plugins(job.plugins))


def check_topic_job(file: JobFile, topic_job: str) -> None:
    """Validate the id in the topic that a job file is retained on; "" if it is not retained.

    Raise JobFileError if the topic has no valid id, or another one than the file.
    """
    where = f"jobs/{topic_job[:80]}/request"
    if topic_job and not re.fullmatch(IDENT, topic_job):
        problem = f"published to {where}, which is no job id: {IDENT_SAID}"
        raise JobFileError((JobFault(key="", problem=problem),))
    if topic_job and file.training_id not in {topic_job, None}:
        problem = f"{file.training_id!r}, but it was published to {where}"
        raise JobFileError((JobFault(key="training_id", problem=problem),))


def job_in_request(payload: bytes, *, cancel: bool, topic_job: str) -> str:
    """Return a request's job id, even if the rest cannot be parsed; "" if there is none."""
    if topic_job:
        return topic_job if re.fullmatch(IDENT, topic_job) else ""
    if cancel:
        return requested_job(payload) or ""
    try:
        tree = read(payload)
    except JobFileError:
        return ""
    job = tree.get("training_id") if isinstance(tree, dict) else None
    return job if isinstance(job, str) and re.fullmatch(IDENT, job) else ""


def requested_job(payload: bytes) -> str | None:
    """Return the job id of a cancellation: bare, as a JSON string, or as `{"job": id}`."""
    content: object = payload[:512].decode("utf-8-sig", "replace").strip()
    with suppress(WireError):
        content = read_json(payload)
    if isinstance(content, dict):
        content = content.get("job", "")
    return content if isinstance(content, str) and re.fullmatch(IDENT, content) else None
