"""Result record of a job, as JSON for people, HTTP clients and controllers of aerOS. Pure.

{"model_name": "digits", "model_version": 6, "training_id": "digits-1",
 "configuration_id": "29ccdaf9bf34c154f6ff",
 "results": {"phase": "finished", "rounds": 5, "final_loss": 0.31, "metrics": {…},
             "strategy": {…}, "history": [{"round": 1, "version": 2, "metrics": {…}}, …], …}}
"""

from collections.abc import Iterable
from typing import Any

from fedbus.training.options import TRAINING_PREFIX
from fedbus.wire import codec
from fedbus.wire.identifiers import Metrics
from fedbus.wire.messages.job_records import JobResult, RoundOutcome

_LOSS = "loss"


def result_record(
    result: JobResult, rounds: Iterable[RoundOutcome] | None = None
) -> dict[str, Any]:
    """Return the record of a job's result; with its rounds, oldest first, if they are given."""
    plain = codec.to_plain(result)
    names = ("phase", "reason", "rounds", "metrics", "contributors", "strategy", "privacy",
             "energy", "submitted", "ended")  # fmt: skip
    results = {name: plain[name] for name in names}
    results["final_loss"] = final_loss(result.metrics)
    if rounds is not None:
        results["history"] = [codec.to_plain(each) for each in rounds]
    return {
        "model_name": result.model,
        "model_version": result.version,
        "training_id": result.job,
        "configuration_id": result.configuration,
        "results": results,
    }


def final_loss(metrics: Metrics) -> float | None:
    """Return the held-out loss among metrics, else that of the training; None: there is neither."""
    return metrics.get(_LOSS, metrics.get(f"{TRAINING_PREFIX}{_LOSS}"))
