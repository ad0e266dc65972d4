"""Gathering of features: the stage of a MistNet job before its first round. Pure.

Its plan is stored before any agent is asked, and with it what the agents' features cost. An agent
that is asked again answers with the same features, so a restarted controller asks all of them.
"""

from collections.abc import Iterator

from fedbus.core.actions import Action, Ask, Cancel, Note
from fedbus.text import counted
from fedbus.wire.features import AgentFeatures, FeatureTerms
from fedbus.wire.messages import FeaturesReady, FeatureTask
from fedbus.wire.round_records import Plan
from fedbus_controller import keys
from fedbus_controller.fleet import Fleet, Liveness
from fedbus_controller.job_context import JobContext
from fedbus_controller.published_reasons import ControllerSentence, without_agents


class FeatureGathering:
    """One plan's cohort is asked for features, until all have answered or the deadline has passed.

    Attributes:
        features: Those of the agents that have answered with some.
        refused: Why the others have none.
    """

    def __init__(
        self, plan: Plan, terms: FeatureTerms, context: JobContext, fleet: Fleet, now: float
    ) -> None:
        self.plan = plan
        self.features: dict[str, AgentFeatures] = {}
        self.refused: dict[str, str] = {}
        self._terms = terms
        self._context = context
        self._fleet = fleet
        self._deadline = now + plan.deadline_seconds

    def open(self, now: float) -> Iterator[Action]:
        """Ask the cohort for features."""
        facts = {"task": self.plan.task, "agents": len(self.plan.cohort), "at": now}
        yield Note("features_asked", {"job": self._context.job, **facts})
        for agent in self.plan.cohort:
            yield self._ask(agent)

    def answered(self, sender: str, answer: object) -> Iterator[Action]:
        """Note an agent's features, or why it has none."""
        if not isinstance(answer, FeaturesReady) or answer.task != self.plan.task:
            return
        if sender not in self.plan.cohort or sender in self.features:
            return
        yield Cancel(keys.FeatureRequest(self._context.job, sender))
        if answer.features is None or not answer.examples:
            self.refused[sender] = answer.reason or "it has no examples"
            facts = {"job": self._context.job, "reason": without_agents(self.refused[sender])}
            yield Note("features_refused", facts)
        else:
            self.refused.pop(sender, None)
            self.features[sender] = AgentFeatures(
                agent=sender, features=answer.features, examples=answer.examples
            )

    def node_restarted(self, node: str) -> Iterator[Action]:
        """Ask a restarted agent again, unless it has answered with features."""
        if node in self.plan.cohort and node not in self.features:
            self.refused.pop(node, None)
            yield self._ask(node)

    def check_liveness(self, now: float) -> Iterator[Action]:
        """Wait no longer for lost agents, and after the deadline for none."""
        for agent in self._missing():
            lost = self._fleet.liveness(agent, now) is Liveness.LOST
            if lost or now >= self._deadline:
                self.refused[agent] = "lost: no heartbeat" if lost else "no features in time"
                yield Cancel(keys.FeatureRequest(self._context.job, agent))

    @property
    def ended(self) -> bool:
        """Whether no agent is waited for any longer."""
        return not self._missing()

    @property
    def fault(self) -> str:
        """Why the features are too few; "" if they are enough.

        What agents say is not published: it may quote their data.
        """
        if len(self.features) >= self.plan.quorum:
            return ""
        have = counted(len(self.features), "agent")
        return ControllerSentence(
            f"{have} sent features, and {self.plan.quorum} are needed (the reasons are in the "
            "controller's log: features_refused)"
        )

    @property
    def missing_agents(self) -> str:
        """Describe how many answers are missing, without names."""
        missing = len(self._missing())
        if not missing:
            return ""
        return ControllerSentence(f"waiting for the features of {counted(missing, 'agent')}")

    def close(self) -> Iterator[Action]:
        """Cancel all asks."""
        for agent in self.plan.cohort:
            yield Cancel(keys.FeatureRequest(self._context.job, agent))

    def _missing(self) -> list[str]:
        done = self.features.keys() | self.refused.keys()
        return [agent for agent in self.plan.cohort if agent not in done]

    def _ask(self, agent: str) -> Ask:
        plan, context = self.plan, self._context
        task = FeatureTask(
            epoch=context.epoch,
            job=context.job,
            task=plan.task,
            base=plan.base,
            terms=self._terms,
            params=context.params,
            trainer=context.file.trainer,
            members=len(plan.cohort),
        )
        return Ask(keys.FeatureRequest(context.job, agent), agent, task)
