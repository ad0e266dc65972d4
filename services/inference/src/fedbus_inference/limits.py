"""What one model may take of this process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one model may take.

    Attributes:
        model_bytes: Weights, and the architecture, of one version.
        numbers: In the inputs of a request.
        waiting: Requests that wait.
        waiting_bytes: Their payloads together.
        patience_seconds: How long one waits.
    """

    model_bytes: int = 4 * 2**30
    numbers: int = 4_000_000
    waiting: int = 256
    waiting_bytes: int = 32 * 2**20
    patience_seconds: float = 10.0
