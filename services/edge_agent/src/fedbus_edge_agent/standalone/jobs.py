"""Standalone jobs: their states, and the order of their rounds. Pure.

A standalone job needs neither a controller nor a broker. Its rounds are trained on this agent's own
data, each from the weights of the one before. Several jobs take turns after each round.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from fedbus.core.actions import Action, Note, Run
from fedbus.errors import Stopped
from fedbus.jobs import JobFile, training_params_of
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.training.options import as_training_metrics
from fedbus.training.params import TrainingParams
from fedbus_edge_agent.keys import ReportWrite, StandaloneWork
from fedbus_edge_agent.standalone.schemas import FINAL_PHASES, JobReport
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.errors import describe_error

MAX_ACTIVE_JOBS = 16
MAX_KEPT_REPORTS = 64
MAX_REPORTED_ROUNDS = 1000
"""A report has the metrics of its job's last rounds, this many at most."""
FLEET_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "plugins": frozenset({"selector"}),
    "round": frozenset({"agents", "quorum", "deadline_seconds"}),
    "strategy": frozenset(
        {"id", "parameters", "aggregator", "server_optimizer", "population", "continue_state"}
    ),
}
"""Keys of a job file that have no meaning for one agent alone."""


@dataclass(frozen=True, slots=True)
class StartJob:
    """Request to start a job; its file is stored already, and its model was uploaded."""

    file: JobFile
    version: str


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Request to end a job; a running round ends at its next batch."""

    job: str


@dataclass(frozen=True, slots=True)
class HttpStarted:
    """The HTTP API is up: the data are watched from now on, connected to a broker or not."""


@dataclass(frozen=True, slots=True)
class RoundRequest:
    """One round of a standalone job, to be trained."""

    job: str
    model: str
    version: str
    params: TrainingParams
    trainer: str | None

    @property
    def round(self) -> int:
        """Number of the round, 1 for the first."""
        return self.params.round


@dataclass(frozen=True, slots=True)
class RoundResult:
    """Number of examples and metrics of a trained round, whose weights are on disk."""

    examples: int
    metrics: dict[str, float]


def _do_nothing(*_: object) -> None:
    """Replace the runner of an agent without an HTTP API, which has no standalone jobs."""


class StandaloneJobs:
    """All standalone jobs: waiting, training and ended ones.

    Args:
        run_round: Trains a round; called in the training thread.
        save_report: Writes a report to disk; called in a thread.
        earlier: Reports of earlier processes; jobs that had not ended are interrupted.
    """

    def __init__(
        self,
        run_round: Callable[[RoundRequest, TaskControl], RoundResult | None] = _do_nothing,
        save_report: Callable[[JobReport], None] = _do_nothing,
        earlier: Iterable[JobReport] = (),
    ) -> None:
        self._run_round = run_round
        self._save_report = save_report
        self._files: dict[str, JobFile] = {}  # of active jobs, the next one to train first
        self._current: tuple[str, TaskControl] | None = None
        self._reports = OrderedDict((report.training_id, _ended(report)) for report in earlier)

    def report(self, job: str) -> JobReport | None:
        """Return a job's report, with the progress of its running round; None if it is unknown."""
        report = self._reports.get(job)
        control = self._running(job)
        if report is None or control is None:
            return report
        done = report.round + control.progress
        return replace(report, progress=min(1.0, done / report.num_rounds))

    def active(self) -> list[str]:
        """Return the ids of the jobs that have not ended."""
        return [*self._files]

    def refusal(self, job: str) -> str | None:
        """Return why a job of this id cannot be started now, or None."""
        if job in self._files:
            return f"there is a job {job} already; give this one another id"
        if len(self._files) >= MAX_ACTIVE_JOBS:
            return f"{len(self._files)} jobs wait already; stop one, or try again later"
        return None

    def start(self, request: StartJob) -> Iterator[Action]:
        """Start a job; the caller has checked `refusal`."""
        file = request.file
        self._files[file.id] = file
        yield Note("job_started", {"job": file.id, "model": file.model_name})
        yield self._store(
            JobReport(
                training_id=file.id,
                model_name=file.model_name,
                model_version=request.version,
                phase="WAITING",
                num_rounds=file.num_rounds,
                ignored=ignored_keys(file),
            )
        )

    def cancel(self, job: str) -> Iterator[Action]:
        """End a job at a user's request; an ended or unknown job stays as it is."""
        if job in self._files:
            report = self._reports[job]
            if control := self._running(job):
                control.stop()
            yield from self._end(replace(report, phase="INTERRUPTED", reason="stopped by a user"))

    def fail_all(self, reason: str) -> Iterator[Action]:
        """End all jobs, because the training thread hangs."""
        for job in [*self._files]:
            yield from self._end(replace(self._reports[job], phase="FAILED", reason=reason))

    def stop(self) -> None:
        """Cancel the running round, because the process exits; the next process reports that."""
        if self._current is not None:
            self._current[1].stop()

    def next_round(
        self,
    ) -> tuple[StandaloneWork, TaskControl, Callable[[], RoundResult | None], Action] | None:
        """Return the next round's key, control and call, and the action that stores its report."""
        if not self._files:
            return None
        job, file = next(iter(self._files.items()))
        report = replace(self._reports[job], phase="TRAINING")
        number = report.round + 1
        seed = int(hashlib.sha256(f"{job}/{number}".encode()).hexdigest()[:12], 16)
        request = RoundRequest(
            job=job,
            model=report.model_name,
            version=report.model_version,
            params=replace(training_params_of(file), round=number, seed=seed),
            trainer=file.trainer,
        )
        control = TaskControl()
        self._current = job, control
        call = partial(self._run_round, request, control)
        return StandaloneWork(job, number), control, call, self._store(report)

    def round_ended(self, key: StandaloneWork, result: object) -> Iterator[Action]:
        """Record a round's result or exception; that of an ended job does not count."""
        job, number = key.job, key.number
        self._current = None
        report, file = self._reports.get(job), self._files.get(job)
        if report is None or file is None or isinstance(result, Stopped):
            return
        if not isinstance(result, RoundResult):
            reason = describe_error(result) if isinstance(result, Exception) else "no result"
            reason = reason[:MAX_TEXT_CHARACTERS]
            yield from self._end(replace(report, phase="FAILED", reason=reason))
            return
        metrics = as_training_metrics(result.metrics)
        report = replace(
            report,
            round=number,
            progress=number / report.num_rounds,
            examples=result.examples,
            metrics=metrics,
            rounds=(*report.rounds, metrics)[-MAX_REPORTED_ROUNDS:],
            weights=f"/job/result/{job}/weights",
        )
        reached = file.reached(metrics, trained=True)
        if reached or number >= report.num_rounds:
            reason = reached or f"all {number} rounds are done"
            yield from self._end(replace(report, phase="FINISHED", reason=reason))
        else:
            self._files[job] = self._files.pop(job)  # to the end: the other jobs come first
            yield self._store(report)

    def _running(self, job: str) -> TaskControl | None:
        return self._current[1] if self._current and self._current[0] == job else None

    def _end(self, report: JobReport) -> Iterator[Action]:
        del self._files[report.training_id]
        facts = {"job": report.training_id, "phase": report.phase, "reason": report.reason}
        yield Note("job_ended", facts)
        yield self._store(report)

    def _store(self, report: JobReport) -> Action:
        self._reports[report.training_id] = report
        self._reports.move_to_end(report.training_id)
        while len(self._reports) > MAX_KEPT_REPORTS:
            ended = (job for job in self._reports if job not in self._files)
            del self._reports[next(ended)]
        return Run(ReportWrite(report.training_id), partial(self._save_report, report))


def ignored_keys(file: JobFile) -> tuple[str, ...]:
    """Return the keys of a job file, which may be a fleet's, that one agent alone ignores."""
    given = {part: getattr(file, part).model_fields_set for part in FLEET_KEYS}
    return tuple(
        f"{part}.{key}" for part, keys in FLEET_KEYS.items() for key in sorted(keys & given[part])
    )


def _ended(report: JobReport) -> JobReport:
    if report.phase in FINAL_PHASES:
        return report
    return replace(report, phase="INTERRUPTED", reason="the agent was restarted meanwhile")
