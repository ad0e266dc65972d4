"""What a committed version is worth on data that nobody trained on. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from fedbus.core.actions import Action, Ask, Cancel, Note
from fedbus.training.metrics_mean import mean_metrics, sendable
from fedbus.training.options import as_training_metrics, impossible_metric
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import Evaluated, EvaluateTask
from fedbus_controller import keys
from fedbus_controller.job_context import JobContext


class Evaluation:
    """The scores of one version: who was asked, and what they said."""

    def __init__(self, context: JobContext, version: ModelRef, evaluators: Sequence[str]) -> None:
        self.version = version
        self.evaluators = tuple(evaluators)
        self._context = context
        self._missing = dict.fromkeys(evaluators)
        self._scores: list[Evaluated] = []

    @property
    def missing(self) -> list[str]:
        """Evaluators that have not answered."""
        return [*self._missing]

    @property
    def scored(self) -> bool:
        """Whether anybody has given a score."""
        return bool(self._scores)

    def ask(self) -> Iterator[Action]:
        """Ask all of them."""
        for agent in self.evaluators:
            task = EvaluateTask(
                epoch=self._context.epoch,
                job=self._context.job,
                version=self.version,
                params=self._context.params,
                trainer=self._context.file.trainer,
                members=len(self.evaluators),
            )
            yield Ask(keys.EvaluationRequest(self._context.job, agent), agent, task)

    def take(self, agent: str, score: Evaluated) -> Iterator[Action]:
        """Take an answer; the first one of each counts."""
        if agent not in self._missing or score.version != self.version.version:
            return
        yield from self.give_up((agent,))
        if reason := score.reason or impossible_metric(score.metrics):
            facts = {"job": self._context.job, "agent": agent, "reason": reason}
            yield Note("evaluation_failed", facts)
        else:
            self._scores.append(score)

    def give_up(self, agents: Sequence[str]) -> Iterator[Action]:
        """Wait no longer for these."""
        for agent in agents:
            self._missing.pop(agent, None)
            yield Cancel(keys.EvaluationRequest(self._context.job, agent))

    def metrics(self, trained: Mapping[str, float]) -> dict[str, float]:
        """Return held-out metrics and those of training, whose names begin with `train_`."""
        scored = dict(sorted(mean_metrics(self._scores).items()))
        return sendable(scored | as_training_metrics(trained))
