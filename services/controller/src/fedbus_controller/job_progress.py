"""Progress of a job: its stage, rounds, newest version and metrics, and their documents. Pure."""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

from fedbus.core.actions import Action, Announce, Note
from fedbus.energy.energy_sums import total_energy
from fedbus.jobs import JobFile
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.training.options import without_training_metrics
from fedbus.wire.documents import JobPhase, JobState, RoundState
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.messages import JobEnded, JobLoaded, RoundEnded
from fedbus.wire.privacy import PrivacySpent, public_spent
from fedbus.wire.round_records import RoundRecord
from fedbus.wire.strategies import Strategy, hides_agents
from fedbus.wire.strategy_text import format_protection, format_steps
from fedbus.wire.topics import JOB_STATE
from fedbus_controller.published_reasons import (
    WITHHELD,
    ControllerSentence,
    published_reason,
    without_agents,
)


class JobStage(StrEnum):
    """Stage of a running job inside the controller."""

    WAITING = "waiting"
    PLANNING = "planning"
    RUNNING = "running"
    EVALUATING = "evaluating"
    ENDING = "ending"


class JobProgress:
    """What the repository has stored of a job, kept up to date while the job runs.

    `file` is None if the job's file cannot be read any more, or `strategy` if that cannot be used.
    Documents of a private job name no agent, and have no figure of one.

    Attributes:
        hides_agents: Whether what is published of the job may tell nothing about one agent.
        privacy: What the job has spent; None before its first noise, and without a mechanism.
        rounds: Number of committed rounds.
        state_of_strategy: What the strategy keeps with the newest version; None: nothing.
        inline_weights: The newest version's weights, if the collector's report contained them.
        record: The record of the newest round; None if another process received it.
        energy: What all rounds and evaluations have used; None if nothing is known.
        evaluation_energy: What the evaluation of the newest version has used.
        round_began: When the newest round was opened; None if another process opened it.
        left_out: The agents left out because of their class or input names, with reasons.
    """

    def __init__(
        self,
        loaded: JobLoaded,
        file: JobFile | None,
        strategy: Strategy | None,
        utc: Callable[[], Timestamp],
    ) -> None:
        self.stage = JobStage.WAITING
        self.job, self.strategy = loaded.job, None if strategy is None else strategy.id
        known = strategy or loaded.strategy
        terms = None if known is None else known.privacy
        self._protection = "" if known is None else format_protection(known)
        self._steps = "" if known is None else format_steps(known)
        self.privacy = loaded.privacy
        chosen = None if file is None else file.privacy_mechanisms.chosen
        private = chosen is not None or loaded.privacy is not None
        self.hides_agents = private or hides_agents(known)
        self._samples_in_secret = terms is not None and terms.poisson
        self.model = loaded.latest.model
        self.num_rounds = loaded.rounds if file is None else file.num_rounds
        self.rounds, self.newest, self.plan = loaded.rounds, loaded.latest, loaded.plan
        self.state_of_strategy = loaded.state
        self.metrics = self._published(loaded.metrics)
        self.submitted, self.ended_at = loaded.submitted, loaded.ended
        self.inline_weights: bytes | None = None
        self.record: RoundRecord | None = None
        self.energy = loaded.energy
        self.evaluation_energy: EnergyUsed | None = None
        self.round_began: Timestamp | None = None
        self._reason = self._withheld = self.left_out = ""
        self._utc = utc

    @property
    def task(self) -> int:
        """The number of the last task; 0 before the first plan."""
        return self.plan.task if self.plan else 0

    def add_round(self, ended: RoundEnded) -> RoundRecord | None:
        """Take over the version and metrics of a round; return its record if it was committed."""
        if ended.version is None or ended.record is None:
            return None
        self.rounds, self.newest, self.record = ended.round, ended.version, ended.record
        self.state_of_strategy = ended.record.state
        complete = len(ended.inline or b"") == ended.version.weights.size
        self.inline_weights = ended.inline if complete else None
        self.metrics = {} if self.hides_agents else dict(ended.record.metrics)
        self.privacy = ended.record.privacy
        self.energy = total_energy((self.energy, ended.record.energy))
        self.evaluation_energy = None
        return self.record

    def add_evaluation_energy(self, energy: EnergyUsed | None) -> None:
        """Add what the evaluators of the newest version have used."""
        self.evaluation_energy = energy
        self.energy = total_energy((self.energy, energy))

    def _published(self, metrics: Mapping[str, float]) -> dict[str, float]:
        return without_training_metrics(metrics) if self.hides_agents else dict(metrics)

    @property
    def reason(self) -> str:
        """Why the job waits, or how it ended, as it is published; "" if it has nothing to tell."""
        return self._reason

    def published(self, sentence: str) -> str:
        """Return a sentence as documents may have it: of a private job only the controller's own.

        Those have no names of agents.
        """
        return published_reason(sentence) if self.hides_agents else sentence

    def log_withheld(self, sentence: str) -> Iterator[Action]:
        """Log a sentence that documents do not have, once as long as it is the same."""
        if self.published(sentence) == WITHHELD and sentence != self._withheld:
            self._withheld = sentence
            reason = without_agents(sentence)
            yield Note("reason_withheld", {"job": self.job, "reason": reason})

    def tell(self, sentence: str) -> None:
        """Have the next document say why the job waits, or how it ended."""
        self._reason = self.published(sentence)

    def ended(self, answer: JobEnded) -> JobState:
        """Return the document of the ended job; its reason was published when it was stored."""
        self.stage, self.ended_at = JobStage.ENDING, answer.at
        self.tell(ControllerSentence(answer.reason))
        return self.state(answer.phase)

    def explain(self, reason: str) -> Iterator[Action]:
        """Announce a new reason to wait; "" if there is none any more."""
        yield from self.log_withheld(reason)
        before = self.reason
        self.tell(reason)
        if self.reason != before:
            yield self.announce()

    def note_spent(self, privacy: PrivacySpent | None) -> Iterator[Action]:
        """Announce what the job has spent, if it is more than was known."""
        if privacy != self.privacy:
            self.privacy = privacy
            yield self.announce()

    def note_left_out(self, agents: str) -> Iterator[Action]:
        """Log the agents that are left out, with reasons, when they change."""
        agents = self.published(agents)
        if agents and agents != self.left_out:
            yield Note("agents_left_out", {"job": self.job, "reason": agents})
        self.left_out = agents

    def announce(self) -> Announce:
        """Publish the document of the job."""
        return Announce(JOB_STATE, self.state())

    def state(self, phase: JobPhase | None = None) -> JobState:
        """Return the document of the job; without a `phase`, the job is accepted, then running."""
        current: JobPhase = "running" if self.rounds or self.round_began else "accepted"
        shows_cohort = self.stage is JobStage.RUNNING and not self._samples_in_secret
        cohort = self.plan.cohort if self.plan and shows_cohort else ()
        return JobState(
            job=self.job,
            model=self.model,
            phase=phase or current,
            round=self.rounds,
            num_rounds=self.num_rounds,
            strategy=self.strategy,
            metrics=self.metrics,
            reason=(self.reason or self.left_out)[:MAX_TEXT_CHARACTERS],
            version=self.newest.version,
            agents=len(cohort),
            submitted=self.submitted,
            ended=self.ended_at,
            at=self._utc(),
            privacy=public_spent(self.privacy),
            protection=self._protection,
            steps=self._steps,
            energy=None if self.hides_agents else self.energy,
        )

    def round_state(self, record: RoundRecord) -> RoundState:
        """Build the document of a committed round.

        How long the steps of a round took tells how large a secret cohort was.
        """
        contributors = () if self.hides_agents else record.contributors
        refusals = () if self.hides_agents else record.refusals
        return RoundState(
            job=self.job,
            round=record.round,
            version=self.newest.version,
            contributors=tuple(c.agent for c in contributors),
            refusals={refusal.agent: refusal.reason for refusal in refusals},
            examples=sum(c.examples for c in contributors),
            metrics=self.metrics,
            seconds={} if self._samples_in_secret else record.seconds,
            began=self.round_began,
            at=self._utc(),
            privacy=public_spent(record.privacy),
            energy=None if self.hides_agents else self._round_energy(record),
            traffic=None if self.hides_agents else record.traffic,
        )

    def _round_energy(self, record: RoundRecord) -> EnergyUsed | None:
        return total_energy((record.energy, self.evaluation_energy))
