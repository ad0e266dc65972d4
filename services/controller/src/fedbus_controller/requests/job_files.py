"""Job files and job ids in requests: parsed, checked, and proposed for a file without an id. Pure.

A request that is delivered twice must not become two jobs. The id of a request with correlation
data is computed from these data. Otherwise the controller proposes an id, and the repository
decides by the request's origin whether it has stored the job before under another proposal.
"""

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fedbus.core.events import ReplyTo
from fedbus.errors import FedbusError, WireError
from fedbus.jobs import JobFault, JobFile, JobFileError, generate_job_id, parse
from fedbus.jobs.json_tree import read
from fedbus.jobs.parser import ExtraChecks
from fedbus.limits import MAX_JOB_FILE_BYTES
from fedbus.plugins.discovery import error_message
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.json_reader import read_json
from fedbus.wire.strategies import Strategy

NO_ID = "not a job's id; send it bare, or as a JSON string"


def judged_job(
    payload: bytes,
    topic_job: str,
    check_plugins: ExtraChecks,
    resolve: Callable[[JobFile], Strategy],
) -> tuple[JobFile, Strategy]:
    """Return a submitted job file with its strategy.

    Whatever a check or a plug-in raises is a fault of the file: the broker delivers a request again
    until it is answered, so it would end each controller that follows.

    Raises:
        JobFileError: The file cannot be used.
    """
    try:
        file = read_job(payload, check_plugins)
        check_topic_job(file, topic_job)
        return file, resolved_strategy(file, resolve)
    except JobFileError:
        raise
    except (Exception, SystemExit) as error:
        problem = f"it cannot be checked: {error_message(error)}"
        raise JobFileError((JobFault(key="", problem=problem),)) from error


def read_job(payload: bytes, check_plugins: ExtraChecks) -> JobFile:
    """Parse a submitted job file; raise JobFileError with every fault found."""
    if len(payload) > MAX_JOB_FILE_BYTES:
        problem = f"{len(payload)} bytes, at most {MAX_JOB_FILE_BYTES}"
        raise JobFileError((JobFault(key="", problem=problem),))
    return parse(payload, check_plugins)


def resolved_strategy(file: JobFile, resolve: Callable[[JobFile], Strategy]) -> Strategy:
    """Return the strategy of a job file; raise JobFileError if it cannot be used any more."""
    try:
        return resolve(file)
    except FedbusError as error:
        raise JobFileError((JobFault(key="strategy", problem=str(error)),)) from error


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


@dataclass(frozen=True, slots=True)
class ProposedId:
    """An id, and the hash of reply topic and file, if the request has no correlation data."""

    job: str
    origin: str | None = None


class JobIds:
    """Proposes unique ids."""

    def __init__(self) -> None:
        self._count = 0

    def propose(
        self, model: str, payload: bytes, reply: ReplyTo | None, utc: Timestamp
    ) -> ProposedId:
        """Return an id for a job file without one."""
        topic = b"" if reply is None else reply.topic.encode()
        digest = hashlib.sha256(payload).digest()
        if reply is not None and reply.correlation:
            request = b"\0".join((topic, reply.correlation, digest))
            return ProposedId(generate_job_id(model, None, request))
        self._count += 1
        origin = hashlib.sha256(topic + b"\0" + digest).hexdigest()
        request = f"{utc}/{self._count}/{origin}".encode()
        return ProposedId(generate_job_id(model, utc, request), origin)
