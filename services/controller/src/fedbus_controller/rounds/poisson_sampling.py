"""Poisson sampling of a cohort: each agent is drawn on its own with one probability. Pure.

The ε of a job profits from sampling only if no reader of its versions knows who was drawn. So
chance is HMAC-SHA-256 with the job's secret as its key: 32 bytes that the repository draws from the
operating system, and that only controllers get. The other choices that the secret seeds, such as
the seeds of trainings, are hashes of it for other purposes: they reveal no draw.

A draw is a function of job, round, task and agent. A controller that ends before its plan is stored
draws the same cohort again, so ending the process does not exchange an unwanted cohort. A round
that is planned again after a failure has a new task, and with it a fresh draw. Which other agents
are online changes no agent's draw.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

SECRET_BYTES: Final = 32
"""Fewest bytes of the secret."""
_DRAW_BITS: Final = 64


def poisson_cohort(  # noqa: PLR0913 - a draw is a function of all of these
    agents: Iterable[str], *, rate: float, secret: bytes, job: str, round: int, task: int
) -> tuple[str, ...]:
    """Draw each agent with probability `rate`, at most 2⁻⁶⁴ less; return the drawn ones, sorted.

    Raises:
        ValueError: The secret is too short to be one.
    """
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"a secret of {len(secret)} bytes; {SECRET_BYTES} are needed")
    below = int(rate * 2**_DRAW_BITS)  # exact: the factor is a power of two
    purpose = f"poisson sampling\0{job}\0{round}\0{task}\0"
    return tuple(a for a in sorted(set(agents)) if _draw(secret, purpose + a) < below)


def _draw(secret: bytes, text: str) -> int:
    """Return a number of `_DRAW_BITS` bits that cannot be predicted without the secret."""
    digest = hmac.digest(secret, text.encode(), hashlib.sha256)
    return int.from_bytes(digest[: _DRAW_BITS // 8])
