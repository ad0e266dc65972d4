"""Validation rules of commits, submissions and pushes, shared by all stores. Pure.

A store reads the facts inside the transaction that changes them, so no other change can come
between a check and its write.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice

from fedbus.jobs import differences
from fedbus.limits import MAX_METRICS
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES
from fedbus.text import listed
from fedbus.training.options import impossible_metric
from fedbus.wire.blobs import BlobRef
from fedbus.wire.identifiers import Metrics, Timestamp
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.timestamps import parse_timestamp
from fedbus_repository.stores.records import JobEnd, Origin, StoredJob, Verdict, Version

MAX_LISTED_DIFFERENCES = 4
"""Differences of two job files that a message lists."""

CountedUpdate = tuple[str, int]
"""An update that is part of a committed round of a job: (agent, task)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitContext:
    """The state of a job when a commit arrives; `counted`: its updates for the record's task."""

    model: str
    ended: JobEnd | None
    plan: Plan | None
    latest: Version
    counted: Collection[CountedUpdate]


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


def commit_fault(record: RoundRecord, weights: BlobRef, context: CommitContext) -> str | None:
    """Return why a round that is not committed yet must be refused; None: it may be committed."""
    return (
        _plan_fault(record, context)
        or _parent_fault(record, weights, context.latest)
        or _contributor_fault(record, context)
        or impossible_metric(record.metrics)
        or None
    )


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


def _plan_fault(record: RoundRecord, context: CommitContext) -> str | None:
    if context.ended is not None:
        return f"job {record.job!r} has ended: {context.ended.phase}"
    if record.model != context.model:
        return f"job {record.job!r} trains model {context.model!r}, not {record.model!r}"
    plan = context.plan
    if plan is None:
        return f"no round of job {record.job!r} is planned"
    if (record.round, record.task) != (plan.round, plan.task):
        return (
            f"expected the planned round {plan.round} as task {plan.task},"
            f" got round {record.round} as task {record.task}"
        )
    return None


def _parent_fault(record: RoundRecord, weights: BlobRef, latest: Version) -> str | None:
    if record.parent != latest.version:
        return (
            f"expected the latest version {latest.version} of model {record.model!r} as parent,"
            f" got version {record.parent}"
        )
    if record.spec != latest.spec:
        return f"expected the spec of version {latest.version}, got another one"
    # Both have the same layout, so only their headers may differ in size.
    if abs(weights.size - latest.weights.size) >= MAX_BLOB_HEADER_BYTES:
        return (
            f"expected weights of {latest.weights.size} bytes, as version {latest.version} has,"
            f" got {weights.size}"
        )
    return None


def _contributor_fault(record: RoundRecord, context: CommitContext) -> str | None:
    cohort = frozenset(context.plan.cohort) if context.plan is not None else frozenset()
    seen: set[str] = set()
    for each in record.contributors:
        if each.agent not in cohort:
            return f"{each.agent} is not in the cohort of task {record.task}"
        if each.task != record.task:
            return f"{each.agent}'s update is for task {each.task}, not for task {record.task}"
        if each.agent in seen:
            return f"{each.agent} is counted twice"
        if (each.agent, each.task) in context.counted:
            return (
                f"{each.agent}'s update for task {each.task} already counts in job {record.job!r}"
            )
        seen.add(each.agent)
    return None
