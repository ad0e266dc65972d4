"""Stage of a job before each round: a plan is made, and stored before any agent is asked. Pure."""

from collections.abc import Generator

from fedbus.core.actions import Action, Cancel, Note, WakeAt
from fedbus.wire.messages import PlanRefused
from fedbus.wire.round_records import Plan
from fedbus_controller import keys
from fedbus_controller.job_progress import JobProgress, JobStage
from fedbus_controller.published_reasons import ControllerSentence
from fedbus_controller.rounds.cohort_planning import PlanImpossible, PlanPostponed
from fedbus_controller.rounds.planning import RoundPlanner

CHECK_SECONDS = 1.0
"""Interval of planning attempts and of liveness checks."""


class PlanningStage:
    """Makes the plan of the next round of one job, again and again until the repository has one."""

    def __init__(self, progress: JobProgress, planner: RoundPlanner) -> None:
        self._job = progress.job
        self._progress, self._planner = progress, planner

    def begin(self, now: float) -> None:
        """Begin with another round."""
        self._progress.stage = JobStage.WAITING
        self._planner.begin(now)

    def attempt(self, now: float) -> Generator[Action, None, PlanImpossible | None]:
        """Have a plan stored, or try again later; return why no plan will ever be possible."""
        progress, planner = self._progress, self._planner
        if progress.stage is not JobStage.WAITING:
            return None
        match planner.plan(progress, now):
            case PlanImpossible() as impossible:
                return impossible
            case PlanPostponed(reason):
                yield from progress.note_left_out(planner.left_out)
                yield from progress.explain(reason)
                yield WakeAt(keys.PlanningRetry(self._job), now + CHECK_SECONDS)
            case plan:
                progress.stage, progress.plan = JobStage.PLANNING, plan
                progress.tell("")
                yield from progress.note_left_out(planner.left_out)
                yield from planner.store(plan, now)
        return None

    def answered(self, task: int) -> Generator[Action, None, Plan | None]:
        """Stop asking the repository; return the plan that it has answered, if it has this task."""
        if (plan := self._awaited(task)) is not None:
            yield Cancel(keys.PlanStorage(self._job))
            yield Cancel(keys.PlanStorageDeadline(self._job))
        return plan

    def refused(self, refused: PlanRefused, now: float) -> Generator[Action, None, str]:
        """Plan another cohort; return why none is possible any more, or ""."""
        if (plan := (yield from self.answered(refused.task))) is None:
            return ""
        facts = {"job": self._job, "round": plan.round, "task": plan.task}
        yield Note("plan_refused", {**facts, "kind": refused.kind})
        if done := self._planner.refused(refused, plan):
            return done
        self._progress.stage = JobStage.WAITING
        broke = "noise key" if refused.kind == "key" else "cohort"
        waiting = f"the {broke} broke the job's privacy terms; planning the round again"
        yield from self._progress.explain(ControllerSentence(waiting))
        yield WakeAt(keys.PlanningRetry(self._job), now + CHECK_SECONDS)
        return ""

    def _awaited(self, task: int) -> Plan | None:
        """Return the plan that waits to be stored, if it has this task."""
        plan, stage = self._progress.plan, self._progress.stage
        awaited = stage is JobStage.PLANNING and plan is not None and plan.task == task
        return plan if awaited else None
