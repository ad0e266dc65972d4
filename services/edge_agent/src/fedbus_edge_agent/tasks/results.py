"""Results of tasks, reported to collectors and controllers. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from fedbus.core.actions import Action, Send
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.wire.messages import Evaluated, EvaluateTask, FeatureTask, TrainTask
from fedbus_edge_agent.host.counters import AgentCounters
from fedbus_edge_agent.keys import TaskKey
from fedbus_edge_agent.mistnet.feature_answers import FeatureAnswers
from fedbus_edge_agent.tasks.replies import TaskReplies
from fedbus_edge_agent.tasks.task import Task
from fedbus_edge_agent.training.task_runner import EvaluationResult, TrainingResult

MAX_EVALUATION_RESULTS = 64


@dataclass(frozen=True, slots=True)
class TaskResults:
    """Reports results; keeps those of evaluations, which a controller asks for again."""

    replies: TaskReplies
    counters: AgentCounters
    features: FeatureAnswers
    evaluations: dict[TaskKey, Evaluated] = field(default_factory=dict)
    """Successful ones, the oldest first."""

    def report(self, task: Task, result: object, reason: str = "") -> Iterator[Action]:
        """Report a result, or with a reason the failure of a task.

        Private trainings are not counted: no reader of `/metrics` may know of them.
        """
        message = task.message
        if not task.private:
            self.counters.count(task.key.kind, "declined" if reason else "done")
        if isinstance(message, FeatureTask):
            yield from self.features.report(task.controller, message, result, reason)
        elif isinstance(message, TrainTask):
            if isinstance(result, TrainingResult):
                metrics = result.stored.offer.metrics
                if not task.private:
                    self.counters.record_metrics(message.job, message.round, metrics)
                yield from self.replies.offer(result)
            else:
                yield from self.replies.decline(message, reason)
        elif isinstance(result, EvaluationResult):
            evaluated = _evaluated(message, result, "")
            while len(self.evaluations) >= MAX_EVALUATION_RESULTS:
                del self.evaluations[next(iter(self.evaluations))]
            self.evaluations[task.key] = evaluated
            yield Send(task.controller, evaluated)
        else:
            yield Send(task.controller, _evaluated(message, EvaluationResult(0, {}), reason))


def _evaluated(message: EvaluateTask, result: EvaluationResult, reason: str) -> Evaluated:
    return Evaluated(
        job=message.job,
        version=message.version.version,
        examples=result.examples,
        metrics=result.metrics,
        reason=reason[:MAX_TEXT_CHARACTERS],
        energy=result.energy,
    )
