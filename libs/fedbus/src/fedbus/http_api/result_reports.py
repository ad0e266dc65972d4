"""Results of jobs in ASSIST-IoT's notation, as the HTTP APIs report them. Pure."""

from collections.abc import Sequence
from typing import Any

from fedbus.wire import codec
from fedbus.wire.messages import JobResult, RoundOutcome

_KEPT = ("phase", "reason", "strategy", "privacy", "energy", "submitted", "ended")


def results_of(result: JobResult, rounds: Sequence[RoundOutcome] = ()) -> dict[str, Any]:
    """Return what is under the key `results`, from what users may read of a job.

    `final_loss` is None if no loss was measured.
    """
    plain = codec.to_plain(result)
    return {
        "rounds": result.rounds,
        "final_loss": result.metrics.get("loss"),
        "metrics": plain["metrics"],
        **{name: plain[name] for name in _KEPT},
        "per_round": [codec.to_plain(each) for each in rounds],
    }
