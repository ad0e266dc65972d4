"""Stage of a job after each commit: the newest version is evaluated on held-out data. Pure."""

from collections.abc import Generator, Iterator

from fedbus.core.actions import Action, WakeAt
from fedbus.wire.messages import Evaluated
from fedbus_controller import keys
from fedbus_controller.job_context import JobContext, Services
from fedbus_controller.job_progress import JobProgress, JobStage
from fedbus_controller.rounds.cohort_planning import PATIENCE_SECONDS
from fedbus_controller.rounds.evaluation import Evaluation
from fedbus_controller.rounds.planning import RoundPlanner


class EvaluationStage:
    """Evaluates the newest version of one job, if there are evaluators.

    Attributes:
        without_evaluators: Whether the last version had none: training metrics decide whether to
            stop.
    """

    def __init__(
        self, context: JobContext, services: Services, progress: JobProgress, planner: RoundPlanner
    ) -> None:
        self.without_evaluators = False
        self._context, self._services = context, services
        self._progress, self._planner = progress, planner
        self._running: Evaluation | None = None

    @property
    def started(self) -> bool:
        """Whether evaluators were asked, and the results are not stored yet."""
        return self._progress.stage is JobStage.EVALUATING and self._running is not None

    def await_evaluators(self, now: float) -> Iterator[Action]:
        """Wait for evaluators to introduce themselves to a process that was just started."""
        self._progress.stage = JobStage.EVALUATING
        yield WakeAt(keys.EvaluationDeadline(self._context.job), now + PATIENCE_SECONDS)

    def start(self, now: float) -> Generator[Action, None, list[str]]:
        """Ask the evaluators; return their names."""
        agents = self._planner.evaluators(now)
        yield from self._progress.note_left_out(agents.explanation)
        evaluators = [name for name, _ in agents.agreeing]
        self._progress.stage = JobStage.EVALUATING
        self._running = Evaluation(self._context, self._progress.newest, evaluators)
        yield from self._running.start(now)
        return evaluators

    def add(self, sender: str, answer: Evaluated) -> Iterator[Action]:
        """Add an evaluator's result."""
        if self._running is not None:
            yield from self._running.add(sender, answer)

    def cancel_lost(self, now: float) -> Iterator[Action]:
        """Stop waiting for evaluators that are lost."""
        if self._running is not None:
            yield from self._running.cancel_lost(self._services.fleet, now)

    def cancel(self) -> Iterator[Action]:
        """Stop waiting for all evaluators."""
        if self._running is not None:
            yield from self._running.cancel(self._running.missing)

    def finish(self, now: float) -> Generator[Action, None, bool]:
        """Store the results once no evaluator is waited for; return whether that is so."""
        running = self._running
        if running is None or running.missing:
            return False
        self.without_evaluators = not running.evaluators
        self._running = None
        yield from running.finish(self._progress, self._services.repository, now)
        yield self._progress.announce()
        return True
