"""What may become true, and the sentence for what may not. Pure; every store asks here.

A store reads the facts inside the transaction that changes them, so what is decided here cannot be
overtaken.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice

from fedbus.jobs import differences
from fedbus.limits import MAX_METRICS
from fedbus.model.blob import MAX_PREFIX
from fedbus.text import listed
from fedbus.training.options import impossible_metric
from fedbus.wire.blobs import BlobRef
from fedbus.wire.identifiers import Metrics, Moment
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.timestamps import seconds_of
from fedbus_repository.stores.records import JobEnd, Origin, StoredJob, Verdict, Version

MAX_NAMED = 4
"""Differences of two job files that a sentence names."""

Counted = tuple[str, int]
"""An update that counts, within a job: (agent, task)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitContext:
    """Where a job stands when a commit arrives; `counted` is what it shares with the record."""

    model: str
    ended: JobEnd | None
    plan: Plan | None
    latest: Version
    counted: Collection[Counted]


def no_model(model: str, known: Iterable[str]) -> str:
    """Say that a model is unknown, and which are not."""
    names = listed(known) or "none yet"
    return f"no model named {model!r}; known: {names}; push one with `fedbus models push`"


def no_job(job: str) -> str:
    """Say that a job is unknown."""
    return f"no job named {job!r} in this repository"


def no_version(latest: Version, version: int | None) -> str:
    """Say that a model has no such version."""
    return f"model {latest.model!r} has versions 1 to {latest.version}, no {version}"


def runs(job: str) -> str:
    """Say that a job that has not ended cannot be forgotten."""
    return f"job {job!r} runs; cancel it, or wait for its end, before it can be forgotten"


def taken(known: StoredJob, differs: str) -> str:
    """Say that a job's id is taken, by what other file, and what became of that."""
    again = (
        "" if known.ended is None else ", or `fedbus job submit --again`, which takes the next one"
    )
    stands = "runs" if known.ended is None else f"has {known.ended.phase}"
    return (
        f"the id {known.job!r} belongs to a job of {known.submitted or 'before'} that {stands}, "
        f"with another job file: {differs}; choose another id{again}"
    )


def difference(known: bytes, sent: bytes) -> str:
    """Say how a job file differs from the one that is stored under its id; empty where it is equal.

    Files that say the same are equal, however they are written; the id itself is not compared, as
    it may have been left out of one of them.
    """
    if known == sent:
        return ""
    found = differences(known, sent)
    more = f", and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return "; ".join(found[:MAX_NAMED]) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierSubmission:
    """The newest job of an origin; `settled`: its controller has acknowledged the request."""

    job: str
    submitted: Moment
    running: bool
    settled: bool


def repeats(earlier: EarlierSubmission, origin: Origin, now: Moment) -> bool:
    """Tell whether a submission is one that became a job already.

    A job that was stored long ago counts only while the broker may still keep its request, and then
    for a redelivery, or while it runs: another job of its model would be refused anyway.
    """
    age = seconds_of(now) - seconds_of(earlier.submitted)
    if abs(age) <= origin.seconds:  # the clock may have been put back
        return True
    return not earlier.settled and (earlier.running or origin.redelivered)


def busy(model: str, job: str) -> str:
    """Say that a model is being trained."""
    return f"model {model!r} is being trained by job {job!r}; wait for its end, or cancel it"


def trained(latest: Version) -> str:
    """Say that a push would take the place of what was trained."""
    scores = ", ".join(f"{name} {value:.4g}" for name, value in islice(latest.metrics.items(), 2))
    return (
        f"model {latest.model!r} has been trained: version {latest.version} is of round "
        f"{latest.round} of job {latest.job!r}{f' ({scores})' if scores else ''}; what is pushed "
        "would be served and trained in its place: `fedbus models push --reset` does that, and "
        "another --name leaves it as it is"
    )


def why_no_commit(record: RoundRecord, weights: BlobRef, standing: CommitContext) -> str | None:
    """Say why a round that nobody has committed may not be; None: it may."""
    return (
        _why_not_planned(record, standing)
        or _why_no_child(record, weights, standing.latest)
        or _why_not_counted(record, standing)
        or impossible_metric(record.metrics)
        or None
    )


def verdict(task: int, *, counted: bool, ended: bool, plan: Plan | None, rounds: int) -> Verdict:
    """Say what became of an update; `rounds` is the last committed round of its job."""
    if counted:
        return "stored"
    planned = plan.task if plan is not None else 0
    if ended or task < planned:
        return "drop"
    if plan is not None and task == planned and plan.round <= rounds:
        return "drop"
    return "unknown"


def merged(own: Metrics, score: Metrics) -> Metrics:
    """Put a held-out score over a round's own metrics; a message holds 64 of them.

    Where the score brings a figure of training as `train_…`, the bare name is the held-out one's
    alone, or nobody's. A figure that cannot be true is left out.
    """
    score = {name: value for name, value in score.items() if not impossible_metric({name: value})}
    said = {*score, *(name.removeprefix("train_") for name in score)}
    rest = {name: value for name, value in own.items() if name not in said}
    return dict(islice((score | rest).items(), MAX_METRICS))


def _why_not_planned(record: RoundRecord, standing: CommitContext) -> str | None:
    if standing.ended is not None:
        return f"job {record.job!r} has ended: {standing.ended.phase}"
    if record.model != standing.model:
        return f"job {record.job!r} trains model {standing.model!r}, not {record.model!r}"
    plan = standing.plan
    if plan is None:
        return f"no round of job {record.job!r} is planned"
    if (record.round, record.task) != (plan.round, plan.task):
        return (
            f"round {record.round} as task {record.task} is not the plan any more:"
            f" that is round {plan.round} as task {plan.task}"
        )
    return None


def _why_no_child(record: RoundRecord, weights: BlobRef, latest: Version) -> str | None:
    if record.parent != latest.version:
        return (
            f"it starts from version {record.parent} of model {record.model!r},"
            f" whose latest is {latest.version}"
        )
    if record.spec != latest.spec:
        return f"its spec is not that of version {latest.version}"
    if abs(weights.size - latest.weights.size) >= MAX_PREFIX:  # they have one layout
        return (
            f"its weights have {weights.size} bytes; version {latest.version}"
            f" has {latest.weights.size}"
        )
    return None


def _why_not_counted(record: RoundRecord, standing: CommitContext) -> str | None:
    cohort = frozenset(standing.plan.cohort) if standing.plan is not None else frozenset()
    seen: set[str] = set()
    for each in record.contributors:
        if each.agent not in cohort:
            return f"{each.agent} is not on the cohort of task {record.task}"
        if each.task != record.task:
            return f"{each.agent}'s update is for task {each.task}, not for task {record.task}"
        if each.agent in seen:
            return f"{each.agent} is counted twice"
        if (each.agent, each.task) in standing.counted:
            return (
                f"{each.agent}'s update for task {each.task} already counts in job {record.job!r}"
            )
        seen.add(each.agent)
    return None
