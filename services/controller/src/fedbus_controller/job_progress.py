"""Progress of a job: its rounds, newest version and metrics, and the documents about them. Pure."""

from collections.abc import Callable

from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.wire.documents import JobPhase, JobState, RoundState
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.messages import JobLoaded, RoundEnded
from fedbus.wire.round_records import RoundRecord


class JobProgress:
    """What the repository has stored of a job, kept up to date while the job runs.

    Attributes:
        rounds: Number of committed rounds.
        inline_weights: The newest version's weights, if the collector's report contained them.
        record: The record of the newest round; None if another process received it.
        round_began: When the newest round was opened; None if another process opened it.
        reason: Why the job waits, or how it ended; "" if there is nothing to tell.
        left_out: The agents left out because of their class or input names, with reasons.
    """

    def __init__(
        self, loaded: JobLoaded, model: str, num_rounds: int, utc: Callable[[], Timestamp]
    ) -> None:
        self.job, self.model, self.num_rounds = loaded.job, model, num_rounds
        self.rounds, self.newest, self.plan = loaded.rounds, loaded.latest, loaded.plan
        self.metrics = dict(loaded.metrics)
        self.submitted, self.ended_at = loaded.submitted, loaded.ended
        self.inline_weights: bytes | None = None
        self.record: RoundRecord | None = None
        self.round_began: Timestamp | None = None
        self.reason = self.left_out = ""
        self._utc = utc

    @property
    def task(self) -> int:
        """The number of the last task; 0 before the first plan."""
        return self.plan.task if self.plan else 0

    def add_round(self, ended: RoundEnded) -> bool:
        """Take over the version and metrics of a round; return whether it was committed."""
        if ended.version is None or ended.record is None:
            return False
        self.rounds, self.newest, self.record = ended.round, ended.version, ended.record
        complete = len(ended.inline or b"") == ended.version.weights.size
        self.inline_weights = ended.inline if complete else None
        self.metrics = dict(ended.record.metrics)
        return True

    def job_state(self, phase: JobPhase, agents: int = 0) -> JobState:
        """Build the document of the job; `agents`: the cohort's size while a round runs."""
        return JobState(
            job=self.job,
            model=self.model,
            phase=phase,
            round=self.rounds,
            num_rounds=self.num_rounds,
            metrics=self.metrics,
            reason=(self.reason or self.left_out)[:MAX_TEXT_CHARACTERS],
            version=self.newest.version,
            agents=agents,
            submitted=self.submitted,
            ended=self.ended_at,
            at=self._utc(),
        )

    def round_state(self, record: RoundRecord) -> RoundState:
        """Build the document of a committed round."""
        return RoundState(
            job=self.job,
            round=record.round,
            version=self.newest.version,
            contributors=tuple(c.agent for c in record.contributors),
            refusals={refusal.agent: refusal.reason for refusal in record.refusals},
            examples=sum(c.examples for c in record.contributors),
            metrics=self.metrics,
            seconds=record.seconds,
            began=self.round_began,
            at=self._utc(),
        )
