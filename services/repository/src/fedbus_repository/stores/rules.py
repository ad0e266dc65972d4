"""Validation rules of submissions and pushes, shared by all stores. Pure.

A store reads the facts inside the transaction that changes them, so no other change can come
between a check and its write.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from fedbus.jobs import differences
from fedbus.limits import MAX_METRICS
from fedbus.text import listed
from fedbus.training.options import impossible_metric
from fedbus.wire.identifiers import Metrics, Timestamp
from fedbus.wire.round_records import Plan
from fedbus.wire.timestamps import parse_timestamp
from fedbus_repository.stores.records import Origin, StoredJob, Verdict, Version

MAX_LISTED_DIFFERENCES = 4
"""Differences of two job files that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierSubmission:
    """The newest job of an origin; `settled`: its controller has acknowledged the request."""

    job: str
    submitted: Timestamp
    running: bool
    settled: bool


def unknown_model(model: str, known: Iterable[str]) -> str:
    """Format the refusal of a model that is not stored."""
    names = listed(known) or "none yet"
    return f"no model named {model!r}; known: {names}; push one with `fedbus models push`"


def unknown_job(job: str) -> str:
    """Format the refusal of a job that is not stored."""
    return f"no job named {job!r} in this repository"


def unknown_configuration(name: str) -> str:
    """Format the refusal of a configuration that is not stored."""
    return (
        f"no configuration {name!r} in this repository; `fedbus configurations list` names those "
        "that are"
    )


def unknown_version(latest: Version, version: int | None) -> str:
    """Format the refusal of a version that a model does not have."""
    return f"model {latest.model!r} has versions 1 to {latest.version}, no {version}"


def still_running(job: str) -> str:
    """Format the refusal to forget a job that has not ended."""
    return f"job {job!r} is running; cancel it or wait for its end before you forget it"


def id_taken(known: StoredJob, differs: str) -> str:
    """Format the refusal of a job whose id belongs to a job with another file."""
    state, again = "is running", ""
    if known.ended is not None:
        state = f"has {known.ended.phase}"
        again = ", or `fedbus job submit --again`, which takes the next one"
    return (
        f"the id {known.job!r} belongs to a job that was submitted at "
        f"{known.submitted or 'an unknown time'} and {state}, with another job file: {differs}; "
        f"choose another id{again}"
    )


def model_in_training(model: str, job: str) -> str:
    """Format the refusal of a job or a push while another job trains the model."""
    return f"model {model!r} is being trained by job {job!r}; wait for its end, or cancel it"


def would_replace_trained(latest: Version) -> str:
    """Format the refusal of a push that would replace a trained version."""
    if latest.derived is not None:
        return (
            f"model {latest.model!r} has been trained: version {latest.version} has the weights of "
            f"version {latest.derived.version}; push it with `fedbus models push --reset`, or under"
            " another name with --name"
        )
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in islice(latest.metrics.items(), 2))
    return (
        f"model {latest.model!r} has been trained: version {latest.version} is of round "
        f"{latest.round} of job {latest.job!r}{f' ({metrics})' if metrics else ''}; the pushed "
        "version would replace it in training and inference: push it with "
        "`fedbus models push --reset`, or under another name with --name"
    )


def file_difference(known: bytes, sent: bytes) -> str:
    """Format how a job file differs from the stored one; empty if they mean the same.

    The notation is not compared, nor the id, which may be missing in one of the files.
    """
    if known == sent:
        return ""
    found = differences(known, sent)
    rest = len(found) - MAX_LISTED_DIFFERENCES
    more = f", and {rest} more" if rest > 0 else ""
    return "; ".join(found[:MAX_LISTED_DIFFERENCES]) + more


def repeats(earlier: EarlierSubmission, origin: Origin, now: Timestamp) -> bool:
    """Return whether a submission has become a job already.

    A job that was stored more than `origin.seconds` ago counts only if the broker may still keep
    its request, and then only for a redelivery or while it runs: another job of its model would be
    refused anyway.
    """
    age = parse_timestamp(now) - parse_timestamp(earlier.submitted)
    if abs(age) <= origin.seconds:  # the clock may have been set back
        return True
    return not earlier.settled and (earlier.running or origin.redelivered)


def verdict(task: int, *, counted: bool, ended: bool, plan: Plan | None, rounds: int) -> Verdict:
    """Return what became of an update; `rounds` is the last committed round of its job."""
    if counted:
        return "stored"
    planned = plan.task if plan is not None else 0
    if ended or task < planned:
        return "drop"
    if plan is not None and task == planned and plan.round <= rounds:
        return "drop"
    return "unknown"


def merge_metrics(own: Metrics, evaluation: Metrics) -> Metrics:
    """Return a round's own metrics updated by held-out metrics, `MAX_METRICS` at most.

    If the evaluation contains `train_NAME`, the round's own NAME is dropped: NAME is then held-out
    or absent. Impossible values are left out.
    """
    evaluation = {
        name: value for name, value in evaluation.items() if not impossible_metric({name: value})
    }
    replaced = {*evaluation, *(name.removeprefix("train_") for name in evaluation)}
    rest = {name: value for name, value in own.items() if name not in replaced}
    return dict(islice((evaluation | rest).items(), MAX_METRICS))
