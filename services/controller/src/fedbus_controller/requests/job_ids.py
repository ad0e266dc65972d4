"""Ids of jobs whose file has none. Pure.

A request that is delivered twice must not become two jobs. The id of a request with correlation
data is computed from these data. Otherwise the controller proposes an id, and the repository
decides by the request's origin whether it has stored the job before under another proposal.
"""

import hashlib
from dataclasses import dataclass

from fedbus.core.events import ReplyTo
from fedbus.jobs import generate_job_id
from fedbus.wire.identifiers import Timestamp


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
            return ProposedId(
                generate_job_id(model, None, b"\0".join((topic, reply.correlation, digest)))
            )
        self._count += 1
        origin = hashlib.sha256(topic + b"\0" + digest).hexdigest()
        return ProposedId(
            generate_job_id(model, utc, f"{utc}/{self._count}/{origin}".encode()), origin
        )
