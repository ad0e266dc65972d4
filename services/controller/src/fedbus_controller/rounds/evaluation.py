"""Federated evaluation: metrics of a committed version on data that no agent trains on. Pure."""

from collections.abc import Iterator, Sequence

from fedbus.core.actions import Action, Announce, Ask, Cancel, Clear, Note, WakeAt
from fedbus.energy.energy_sums import total_energy
from fedbus.training.metrics_mean import mean_metrics, sendable
from fedbus.training.options import as_training_metrics, impossible_metric
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import Evaluated, EvaluateTask, StoreEvaluation
from fedbus.wire.topics import ROUND_STATE
from fedbus_controller import keys
from fedbus_controller.fleet import Fleet, Liveness
from fedbus_controller.job_context import JobContext
from fedbus_controller.job_progress import JobProgress

EVALUATION_SECONDS = 60.0
"""Shortest time limit of an evaluation; a longer deadline of the job's rounds applies instead."""
RETAINED_ROUNDS = 1000
"""Number of a job's newest round documents that the broker retains, in its memory."""


class Evaluation:
    """The evaluation of one version: the evaluators asked, and their results."""

    def __init__(self, context: JobContext, version: ModelRef, evaluators: Sequence[str]) -> None:
        self.version = version
        self.evaluators = tuple(evaluators)
        self._context = context
        self._missing = dict.fromkeys(evaluators)
        self._results: list[Evaluated] = []

    @property
    def missing(self) -> list[str]:
        """The evaluators that have not answered."""
        return [*self._missing]

    def start(self, now: float) -> Iterator[Action]:
        """Ask all evaluators, and set the deadline."""
        for agent in self.evaluators:
            task = EvaluateTask(
                epoch=self._context.epoch,
                job=self._context.job,
                version=self.version,
                params=self._context.params,
                trainer=self._context.file.trainer,
                members=len(self.evaluators),
                measures_energy=self._context.strategy.measures_energy,
            )
            yield Ask(keys.EvaluationRequest(self._context.job, agent), agent, task)
        limit = max(EVALUATION_SECONDS, self._context.file.round.deadline_seconds)
        yield WakeAt(keys.EvaluationDeadline(self._context.job), now + limit)

    def add(self, agent: str, result: Evaluated) -> Iterator[Action]:
        """Add an evaluator's result; only the first one of each evaluator counts."""
        if agent not in self._missing or result.version != self.version.version:
            return
        yield from self.cancel((agent,))
        if reason := result.reason or impossible_metric(result.metrics):
            facts = {"job": self._context.job, "agent": agent, "reason": reason}
            yield Note("evaluation_failed", facts)
        else:
            self._results.append(result)

    def cancel(self, agents: Sequence[str]) -> Iterator[Action]:
        """Stop waiting for some evaluators."""
        for agent in agents:
            self._missing.pop(agent, None)
            yield Cancel(keys.EvaluationRequest(self._context.job, agent))

    def cancel_lost(self, fleet: Fleet, now: float) -> Iterator[Action]:
        """Stop waiting for evaluators that are lost."""
        lost = [a for a in self._missing if fleet.liveness(a, now) is Liveness.LOST]
        yield from self.cancel(lost)

    def finish(self, progress: JobProgress, repository: str, now: float) -> Iterator[Action]:
        """Combine the metrics, have them stored, and announce the round's document.

        Metrics of training get the prefix `train_`; held-out ones are means by examples.
        """
        job, number = self._context.job, progress.rounds
        yield Cancel(keys.EvaluationDeadline(job))
        held_out = dict(sorted(mean_metrics(self._results).items()))
        metrics = progress.metrics = sendable(held_out | as_training_metrics(progress.metrics))
        energy = total_energy(each.energy for each in self._results)
        progress.add_evaluation_energy(energy)
        if self._results:
            epoch = self._context.epoch
            store = StoreEvaluation(
                epoch=epoch, job=job, round=number, metrics=metrics, energy=energy
            )
            yield Ask(keys.EvaluationStorage(job, number), repository, store)
        if progress.record is not None:
            yield Announce(ROUND_STATE, progress.round_state(progress.record))
        if number > RETAINED_ROUNDS:
            yield Clear(ROUND_STATE, {"job": job, "round": str(number - RETAINED_ROUNDS)})
        yield Note("round_finished", {"job": job, "round": number, "metrics": metrics, "at": now})
