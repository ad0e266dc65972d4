"""Standalone jobs: what this agent trains by itself, for whoever asks at its own door. Pure.

They need no controller and no broker. A job's rounds are done one after another on this agent's own
data, each from the weights that the last one left; the worker they share with the tasks of others
is given to both in turns.
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

MAX_WAITING = 16
MAX_KEPT_REPORTS = 64
MAX_REPORTED_ROUNDS = 1000
"""Of so many rounds, the last ones, a report has the metrics."""
FLEET_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "plugins": frozenset({"aggregator", "selector"}),
    "round": frozenset({"agents", "quorum", "deadline_seconds", "weighted"}),
}
"""Keys of a job file that mean nothing where one agent trains alone."""


@dataclass(frozen=True, slots=True)
class StartJob:
    """Begin a job; its file lies on the disk already, and its model is here."""

    file: JobFile
    version: str


@dataclass(frozen=True, slots=True)
class CancelJob:
    """End a job, within one batch if it trains."""

    job: str


@dataclass(frozen=True, slots=True)
class HttpStarted:
    """The doors are open: data are looked at from now on, be there a broker or not."""


@dataclass(frozen=True, slots=True)
class RoundRequest:
    """One round of a standalone job."""

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
    """What a round gave; its weights lie on the disk."""

    examples: int
    metrics: dict[str, float]


def _no_runner(*_: object) -> None:
    """Stand in where no door is open: nobody can start a job."""


class StandaloneJobs:
    """All standalone jobs: those that wait, the one that trains, those that are over.

    Args:
        learn: Does a lesson, in a thread; returns what was `Learnt`.
        note: Writes a report to the disk, in a thread.
        remembered: The reports of earlier lives; what was not over is interrupted.
    """

    def __init__(
        self,
        run_round: Callable[[RoundRequest, TaskControl], RoundResult | None] = _no_runner,
        save_report: Callable[[JobReport], None] = _no_runner,
        earlier: Iterable[JobReport] = (),
    ) -> None:
        self._run_round = run_round
        self._save_report = save_report
        self._files: dict[str, JobFile] = {}  # of jobs that are not over
        self._current: tuple[str, TaskControl] | None = None
        self._reports = OrderedDict(
            (report.training_id, report if report.phase in FINAL_PHASES else _interrupted(report))
            for report in earlier
        )

    # ── questions ─────────────────────────────────────────────────────────────────────────────────

    def report(self, job: str) -> JobReport | None:
        """Say how a job stands; None: it is not known here."""
        report = self._reports.get(job)
        control = self._control(job)
        if report is None or control is None:
            return report
        done = report.round + control.progress
        return replace(report, progress=min(1.0, done / report.num_rounds))

    def under_way(self) -> list[str]:
        """Name the jobs that wait or train, the oldest first."""
        return [*self._files]

    def refusal(self, job: str) -> str | None:
        """Say why a new job of this id cannot be begun now; None: it can."""
        if job in self._files:
            return f"there is a job {job} already; give this one another id"
        if len(self._files) >= MAX_WAITING:
            return f"{len(self._files)} jobs wait already; stop one, or come back later"
        return None

    # ── orders ────────────────────────────────────────────────────────────────────────────────────

    def start(self, order: StartJob) -> Iterator[Action]:
        """Take a job that `refusal` had nothing against."""
        file = order.file
        self._files[file.id] = file
        yield Note("job_started", {"job": file.id, "model": file.model_name})
        yield self._update(
            JobReport(
                training_id=file.id,
                model_name=file.model_name,
                model_version=order.version,
                phase="WAITING",
                num_rounds=file.num_rounds,
                ignored=ignored(file),
            )
        )

    def cancel(self, job: str) -> Iterator[Action]:
        """End a job that is not over."""
        if job in self._files:
            report = self._reports[job]
            if control := self._control(job):
                control.stop()
            yield from self._end(replace(report, phase="INTERRUPTED", reason="stopped by a user"))

    def fail_all(self, reason: str) -> Iterator[Action]:
        """End all jobs: there is nobody to train them any more."""
        for job in [*self._files]:
            yield from self._end(replace(self._reports[job], phase="FAILED", reason=reason))

    def stop(self) -> None:
        """Stop what trains: the process ends. What is not over is interrupted in its next life."""
        if self._current is not None:
            self._current[1].stop()

    # ── work ──────────────────────────────────────────────────────────────────────────────────────

    def next_round(
        self,
    ) -> tuple[StandaloneWork, TaskControl, Callable[[], RoundResult | None], Action] | None:
        """Take the next lesson; the worker is idle. Comes with what is to be noted about it."""
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
        return StandaloneWork(job, number), control, call, self._update(report)

    def round_ended(self, key: StandaloneWork, result: object) -> Iterator[Action]:
        """Take what came of a lesson; what came of one that was ended meanwhile is not counted."""
        job, number = key.job, key.number
        self._current = None
        report, file = self._reports.get(job), self._files.get(job)
        if report is None or file is None or isinstance(result, Stopped):
            return
        if not isinstance(result, RoundResult):
            reason = describe_error(result) if isinstance(result, Exception) else "nothing learnt"
            yield from self._end(
                replace(report, phase="FAILED", reason=reason[:MAX_TEXT_CHARACTERS])
            )
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
            self._files[job] = self._files.pop(job)  # others that wait have their turn
            yield self._update(report)

    def _control(self, job: str) -> TaskControl | None:
        """Return the flag of the lesson that is being done for a job."""
        return self._current[1] if self._current and self._current[0] == job else None

    def _end(self, report: JobReport) -> Iterator[Action]:
        del self._files[report.training_id]
        facts = {"job": report.training_id, "phase": report.phase, "reason": report.reason}
        yield Note("job_ended", facts)
        yield self._update(report)

    def _update(self, report: JobReport) -> Action:
        self._reports[report.training_id] = report
        self._reports.move_to_end(report.training_id)
        while len(self._reports) > MAX_KEPT_REPORTS:
            over = (job for job in self._reports if job not in self._files)
            del self._reports[next(over)]
        return Run(ReportWrite(report.training_id), partial(self._save_report, report))


def ignored(file: JobFile) -> tuple[str, ...]:
    """Name what a job file says about others than the agent that trains alone.

    It is no fault: the same file may be a fleet's.
    """
    said = {"plugins": file.plugins.model_fields_set, "round": file.round.model_fields_set}
    return tuple(
        f"{part}.{key}" for part, keys in FLEET_KEYS.items() for key in sorted(keys & said[part])
    )


def _interrupted(report: JobReport) -> JobReport:
    return replace(report, phase="INTERRUPTED", reason="the agent was restarted meanwhile")
