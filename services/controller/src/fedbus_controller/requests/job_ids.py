"""Which id a job gets whose file leaves it out. Pure.

A request that comes twice must not become two jobs. One with correlation data is told apart by
these: its id follows from them. Without them an id is only proposed, and the repository decides by
the request's origin whether it has stored the job before, under another controller's proposal.
"""

import hashlib
from dataclasses import dataclass

from fedbus.core.events import ReplyTo
from fedbus.jobs import generate_job_id
from fedbus.wire.identifiers import Timestamp


@dataclass(frozen=True, slots=True)
class ProposedId:
    """An id, and the origin of the request where nothing else tells it from others."""

    job: str
    origin: str | None = None


class JobIds:
    """Proposes ids, of which no two are the same."""

    def __init__(self) -> None:
        self._count = 0

    def propose(
        self, model: str, payload: bytes, reply: ReplyTo | None, utc: Timestamp
    ) -> ProposedId:
        """Name the job of a file that has no id."""
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
