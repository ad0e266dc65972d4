"""Planning of a cohort: which agents may be asked, and which of them are. Pure."""

from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from fedbus.errors import FedbusError
from fedbus.jobs.eligibility import TrainingRequirements
from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.plugins import AgentInfo
from fedbus.text import listed
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import AgentFacts, EndPhase
from fedbus.wire.messages import JobLoaded
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.round_records import Plan
from fedbus_controller.fleet import EligibleAgents
from fedbus_controller.job_context import JobContext, Services
from fedbus_controller.published_reasons import ControllerSentence
from fedbus_controller.rounds.cohort_selection import (
    CohortSelection,
    InvalidSelection,
    TooFewSelected,
)
from fedbus_controller.rounds.name_agreement import AgreeingAgents, NameAgreement
from fedbus_controller.rounds.participations import AllowedAgents, Participations
from fedbus_controller.rounds.poisson_sampling import poisson_cohort
from fedbus_controller.rounds.protected_rounds import LEAST_MASKED_AGENTS, key_reason

PATIENCE_SECONDS = 5.0
"""Time to wait for all wanted agents, before the quorum is enough."""
OWN_SELECTOR = "uniform"
"""The selector of a job that names none."""


@dataclass(frozen=True, slots=True)
class PlanPostponed:
    """No round can be planned yet: agents or a collector are missing."""

    reason: str


@dataclass(frozen=True, slots=True)
class PlanImpossible:
    """No round can be planned, and waiting would not help: the job ends in this phase."""

    reason: str
    phase: EndPhase = "failed"


NoPlan: TypeAlias = PlanPostponed | PlanImpossible
Cohort: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The online agents that train.

    Those that are eligible, of them those whose names agree, of them those that the ledger allows.
    """

    known: EligibleAgents
    agreed: AgreeingAgents
    allowed: AllowedAgents

    @property
    def selectable(self) -> list[tuple[str, AgentFacts]]:
        """The agents that may be asked, sorted by name."""
        allowed = set(self.allowed.allowed)
        return [each for each in self.agreed.agreeing if each[0] in allowed]


class CohortPlanner:
    """Chooses the cohorts of one job.

    For PATIENCE_SECONDS it waits for all agents that the job wants; then the quorum is enough. A
    round of Poisson sampling waits for no agent and needs none. But while none is there it is not
    planned: noise alone costs as much ε, and which agents are online is public.

    Attributes:
        quorum: Number of updates that a round needs; 0 for Poisson sampling.
        participations: What the job's ledger says about each agent.
        without_evaluators: Why no online evaluator may score a private job; "" if one may.
    """

    def __init__(
        self,
        context: JobContext,
        services: Services,
        loaded: JobLoaded,
        participations: Participations,
        now: float,
    ) -> None:
        self.participations = participations
        self.without_evaluators = ""
        self._context, self._fleet, self._selector = context, services.fleet, services.selector
        self._needs = loaded.needs
        self._since = now
        self._last_selected: dict[str, int] = {}
        poisson, wanted, terms = context.samples_in_secret, context.file.round, context.terms
        earlier = () if loaded.plan is None or poisson else loaded.plan.cohort
        self._names = NameAgreement(loaded.needs, earlier)
        self._want = wanted.agents if terms is None else terms.cohort
        self.quorum = 0 if poisson else min(wanted.quorum, self._want)
        masked = context.strategy.masking is not None
        self._least = max(self.quorum, LEAST_MASKED_AGENTS) if masked else self.quorum
        self._selection = CohortSelection(context.file.plugins.selector, self._want, self._least)

    def begin(self, now: float) -> None:
        """Begin with another round: wait again for all wanted agents."""
        self._since = now

    def record(self, plan: Plan) -> None:
        """Record in which round agents were selected, for selectors that prefer others."""
        self._last_selected.update(dict.fromkeys(plan.cohort, plan.round))

    def candidates(self, base: ModelRef, now: float) -> Candidates:
        """Return the agents that can train from a version, and why the others cannot."""
        context = self._context
        requirements = TrainingRequirements(
            base.weights.size, context.file.trainer, self._needs, context.params
        )
        known = self._fleet.eligible(requirements, now).without(context.feature_trainers)
        known = known.excluding(self._without_key(known))
        agreed = self._names.check(known.eligible)
        allowed = self.participations.check(name for name, _ in agreed.agreeing)
        return Candidates(known, agreed, allowed)

    def _without_key(self, known: EligibleAgents) -> dict[str, str]:
        """Return why agents cannot encrypt with the job's key, by their names."""
        if (key := self._context.encryption_key) is None:
            return {}
        found = ((agent, self._fleet.encryption_key(agent)) for agent, _ in known.eligible)
        reasons = ((agent, key_reason(key, announced)) for agent, announced in found)
        return {agent: reason for agent, reason in reasons if reason}

    def evaluators(self, now: float) -> AgreeingAgents:
        """Return the online evaluators with the names of the job's agents.

        A private job asks no agent that it trains on, or may: a score is a figure of one agent's
        data, and no noise is added to it. Versions that are encrypted can be read with their key.
        """
        key, fleet = self._context.encryption_key, self._fleet
        online = [
            each
            for each in fleet.agents("evaluate", now)
            if key is None or fleet.encryption_key(each[0]) == key
        ]
        held_out = [each for each in online if self._is_held_out(*each)]
        self.without_evaluators = ""
        if online and not held_out:
            evaluates = "agent that evaluates" if len(online) == 1 else "agents that evaluate"
            self.without_evaluators = ControllerSentence(
                f"versions are not evaluated: {len(online)} {evaluates} may also train in this "
                "private job, and the score of an agent tells about its data; let agents that do "
                "not train evaluate (FEDBUS_ROLES)"
            )
            return AgreeingAgents((), {}, self.without_evaluators)
        return self._names.check(held_out)

    def _is_held_out(self, agent: str, facts: AgentFacts) -> bool:
        if self._context.terms is None:
            return True
        trained = self.participations.took_part(agent) or agent in self._last_selected
        return "train" not in facts.roles and not trained

    def draw(
        self, terms: PrivacyTerms, candidates: Candidates, round: int, task: int, now: float
    ) -> Cohort | NoPlan:
        """Draw a cohort by Poisson sampling; no plug-in may choose the agents, or learn them."""
        context, agents = self._context, candidates.selectable
        if (selector := context.file.plugins.selector) != OWN_SELECTOR:
            said = (
                f"Poisson sampling draws the agents itself, but the job has the selector "
                f"{selector!r}: leave plugins.selector out, or set the accounting's sampling to any"
            )
            return PlanImpossible(ControllerSentence(said))
        if not agents:
            return PlanPostponed(self._missing(candidates, "any number is enough", now))
        cohort = poisson_cohort(
            [name for name, _ in agents],
            rate=terms.rate,
            secret=context.secret,
            job=context.job,
            round=round,
            task=task,
        )
        if len(cohort) > MAX_COHORT_AGENTS:
            said = (
                f"Poisson sampling drew more than {MAX_COHORT_AGENTS} agents, the most that a "
                "round can have: set num_sampled_clients lower"
            )
            return PlanImpossible(ControllerSentence(said))
        self._names.adopt(agents)  # of all, so that what the job requires tells nothing about some
        return cohort

    def select(self, candidates: Candidates, rng: Random, now: float) -> Cohort | NoPlan:
        """Have the job's selector choose a cohort of the wanted number of agents."""
        agents, name = candidates.selectable, self._context.file.plugins.selector
        waits_for_all = now < self._since + PATIENCE_SECONDS
        if len(agents) < (self._want if waits_for_all else self._least):
            if not waits_for_all and (reason := self._spent()):
                return PlanImpossible(reason, "finished")
            needs = f"{self._want} wanted, {self._least} needed"
            return PlanPostponed(self._missing(candidates, needs, now))
        infos = [
            AgentInfo(
                agent=agent,
                last_selected=self._last_selected.get(agent, 0),
                examples=facts.examples,
                load=self._fleet.load(agent),
            )
            for agent, facts in agents
        ]
        try:
            cohort = self._selection.select(self._selector(name), infos, rng, now)
        except TooFewSelected as error:
            return PlanPostponed(str(error))
        except InvalidSelection as error:
            return PlanImpossible(str(error))
        except FedbusError as error:
            return PlanImpossible(f"selector {name!r}: {error}")
        self._names.adopt([each for each in agents if each[0] in cohort])
        return cohort

    def _missing(self, candidates: Candidates, needs: str, now: float) -> str:
        """Describe which agents are missing for a cohort."""
        known, agreed = candidates.known, candidates.agreed
        count = len(known.eligible) + known.ineligible
        online = f"{count} {'is' if count == 1 else 'are'} online"
        why = f"{online}, {needs}{known.reasons}{candidates.allowed.reasons}"
        absent = self._fleet.absent(now)
        names = f"; offline: {listed(absent)}" if absent else ""
        names += f"; {agreed.explanation}" if agreed.explanation else ""
        return ControllerSentence(f"waiting for agents: {why}{names}")

    def _spent(self) -> str:
        """Return why no cohort is possible any more; "" if one may be."""
        known = self._fleet.trainers()
        spent = sum(self.participations.is_spent(agent) for agent in known)
        if not spent or len(known) - spent >= self.quorum:
            return ""
        what, key = "participations are", "max_participations"
        if self.participations.over_budget:
            what, key = "privacy budget is", "target_epsilon"
        return ControllerSentence(
            f"the {what} spent: {spent} of the {len(known)} known agents have taken part as often "
            f"as {key} allows, and a round needs {self.quorum}; more agents, or a new job, can "
            "train on"
        )
