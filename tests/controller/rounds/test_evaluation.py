"""What a version is worth on data that nobody trained on, and what follows from it."""

import pytest

from fedbus.wire.documents import JobState, RoundState
from fedbus.wire.messages import EndJob, Evaluated, EvaluationStored, JobEnded, StoreEvaluation
from fedbus_controller import keys
from tests.controller.harness import (
    COLLECTOR,
    JOB,
    JUDGE,
    REPOSITORY,
    A,
    B,
    C,
    Harness,
    committed,
    job_file,
    loaded,
    readable,
    version,
)

OTHER_JUDGE = "agent.other-judge"


def score(
    accuracy: float, examples: int = 10, number: int = 2, reason: str = "", name: str = "accuracy"
) -> Evaluated:
    """Score a version."""
    metrics = {} if reason else {name: accuracy}
    return Evaluated(job=JOB, version=number, examples=examples, metrics=metrics, reason=reason)


class Court(Harness):
    """A harness with two evaluators; one is called a judge, the other has the role all the same."""

    def introduce(self, *nodes: str, life: int = 1, online: bool = True) -> None:
        super().introduce(*nodes, life=life, online=online)
        if OTHER_JUDGE in nodes:
            self.lives[OTHER_JUDGE] = life
            self._judge(OTHER_JUDGE, life)

    def _judge(self, node: str, life: int) -> None:
        from fedbus.wire.documents import NodeState
        from tests.controller.harness import facts

        self.hear(
            node, NodeState(node=node, incarnation=life, online=True, agent=facts("evaluate"))
        )


def scoring(file: bytes = job_file(), *judges: str, **metrics: float) -> Court:
    """Come to where the first round is committed and its version is being scored."""
    harness = Court()
    fleet = (COLLECTOR, A, B, C, *(judges or (JUDGE,)))
    plan = harness.begin_round(loaded(file=file), *fleet)
    harness.hear(COLLECTOR, committed(plan, **metrics))
    return harness


def test_a_committed_version_is_scored_before_the_next_round() -> None:
    """Training's figures stand beside the score, under another name."""
    harness = scoring(job_file(), loss=0.5)
    assert harness.evaluation().version.version == 2
    assert keys.PlanStorage(JOB) not in harness.asks
    harness.hear(JUDGE, score(0.75))
    store = harness.asked(keys.EvaluationStorage(JOB, 1), StoreEvaluation)
    assert store.metrics == {"accuracy": 0.75, "train_loss": 0.5}
    (state,) = harness.said(RoundState)
    assert state.metrics == store.metrics
    assert (state.version, state.examples, len(state.contributors)) == (2, 10, 2)
    assert list(state.refusals.values()) == ["no update by the deadline"]
    assert harness.planned.round == 2
    harness.hear(REPOSITORY, EvaluationStored(job=JOB, round=1))
    assert keys.EvaluationStorage(JOB, 1) not in harness.asks


def test_a_score_counts_once_and_only_of_this_version_and_from_who_was_asked() -> None:
    """All others are late, repeated, or from somewhere else."""
    harness = scoring(job_file(), JUDGE, OTHER_JUDGE)
    for sender, said in ((A, score(0.1)), (JUDGE, score(0.1, number=1))):
        harness.hear(sender, said)
        assert harness.last == []
    harness.hear(JUDGE, score(0.5, examples=10))
    harness.hear(JUDGE, score(1.0, examples=99))
    assert harness.last == []
    harness.hear(OTHER_JUDGE, score(1.0, examples=30))
    assert harness.asked(keys.EvaluationStorage(JOB, 1), StoreEvaluation).metrics == {
        "accuracy": 0.875
    }
    harness.hear(JUDGE, score(0.0))
    assert harness.last == []


def test_a_target_that_the_score_reaches_finishes_the_job() -> None:
    """The score is stored, even while the job ends and after."""
    harness = scoring(job_file(stopping_target={"accuracy": 0.7}))
    harness.hear(JUDGE, score(0.75))
    end = harness.asked(keys.JobEnding(JOB), EndJob)
    assert end.reason == "accuracy 0.75, at least 0.7 was asked"
    harness.hear(REPOSITORY, JobEnded(job=JOB, phase="finished", reason=end.reason))
    assert keys.EvaluationStorage(JOB, 1) in harness.asks
    assert keys.StopRequest(JOB, JUDGE) in harness.asks
    assert harness.said(JobState)[-1].metrics == {"accuracy": 0.75}


def test_training_figures_reach_no_target_where_data_is_held_out() -> None:
    """Even if the evaluator fails: what trained well need not be good."""
    harness = scoring(job_file(stopping_target={"accuracy": 0.7}), accuracy=0.99)
    harness.hear(JUDGE, score(0, reason="out of memory"))
    assert harness.noted("evaluation_failed")[0]["reason"] == "out of memory"
    assert harness.noted("round_finished")[0]["metrics"] == {"train_accuracy": 0.99}
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]


def test_where_nobody_holds_data_out_training_figures_are_all_there_is() -> None:
    """They end the job, and both the end and the state say what they are."""
    harness = Harness()
    plan = harness.begin_round(loaded(file=job_file(stopping_target={"accuracy": 0.7})))
    harness.hear(COLLECTOR, committed(plan, accuracy=0.99))
    assert harness.asked(keys.JobEnding(JOB), EndJob).reason == (
        "train_accuracy 0.99, at least 0.7 was asked of accuracy; no evaluator scored it, so the "
        "agents' own training data judged"
    )
    (state,) = harness.said(RoundState)
    assert state.metrics == {"train_accuracy": 0.99}
    assert keys.EvaluationStorage(JOB, 1) not in harness.asks


def test_an_evaluator_that_vanishes_does_not_hold_the_job() -> None:
    """Once it is lost, the next round is planned."""
    harness = scoring(job_file(), JUDGE, OTHER_JUDGE)
    harness.silent.add(JUDGE)
    harness.wait(4.0)
    harness.hear(OTHER_JUDGE, score(0.5))
    assert keys.PlanStorage(JOB) not in harness.asks
    harness.wait(4.0)
    assert keys.EvaluationRequest(JOB, JUDGE) not in harness.asks
    assert harness.planned.round == 2


def test_an_evaluator_that_takes_too_long_does_not_hold_the_job() -> None:
    """It lives, and beats, and says nothing."""
    harness = scoring()
    harness.wait(59.0)
    assert keys.EvaluationRequest(JOB, JUDGE) in harness.asks
    harness.wait(2.0)
    assert keys.EvaluationRequest(JOB, JUDGE) not in harness.asks
    assert harness.planned.round == 2


def test_evaluators_have_as_long_as_agents_have() -> None:
    """A job that gives its agents an hour gives its evaluators one."""
    harness = scoring(job_file(round={"agents": 3, "quorum": 2, "deadline_seconds": 3600}))
    harness.wait(3500.0)
    assert keys.EvaluationRequest(JOB, JUDGE) in harness.asks


def test_a_version_whose_score_may_be_missing_is_scored_after_a_restart() -> None:
    """Evaluators are given a moment to introduce themselves; only then is it decided."""
    harness = Harness()
    job = loaded(rounds=1, latest=version(2), metrics={"train_accuracy": 0.99})
    harness.begin(job, COLLECTOR, A, B, C)
    assert keys.PlanStorage(JOB) not in harness.asks
    harness.hear(A, score(0.1))
    assert harness.last == []
    harness.wait(1.0)
    harness.introduce(JUDGE)
    harness.wait(5.0)
    assert harness.evaluation().version == version(2)
    harness.hear(JUDGE, score(0.5))
    store = harness.asked(keys.EvaluationStorage(JOB, 1), StoreEvaluation)
    assert store.metrics == {"accuracy": 0.5, "train_accuracy": 0.99}
    assert harness.said(RoundState) == []  # its record is the repository's
    assert harness.planned.round == 2


def test_a_late_timer_of_a_round_that_is_scored_does_nothing() -> None:
    """The next one runs already."""
    harness = scoring()
    harness.hear(JUDGE, score(0.5))
    assert keys.EvaluationDeadline(JOB) not in harness.timers


@pytest.mark.parametrize(
    "metrics",
    [
        {f"m{number}": 1.0 for number in range(64)},
        {"m" * 64: 1.0},
        {"huge": 1.7e308},
        {"event": 1.0, "job": 2.0, "at": 3.0},
    ],
    ids=["many", "long", "huge", "named like facts"],
)
def test_whatever_agents_measured_makes_messages_that_can_be_read(
    metrics: dict[str, float],
) -> None:
    """Too many figures, too long a name, sums beyond the largest float."""
    harness = scoring(job_file(), JUDGE, OTHER_JUDGE, **metrics)
    for judge in (JUDGE, OTHER_JUDGE):
        said = Evaluated(job=JOB, version=2, examples=2**52, metrics=metrics, reason="")
        harness.hear(judge, said)
    assert readable(harness.asked(keys.EvaluationStorage(JOB, 1), StoreEvaluation))
    assert all(readable(state) for state in harness.said(JobState))
    assert all(readable(state) for state in harness.said(RoundState))


@pytest.mark.parametrize("accuracy", [1.3, -0.2])
def test_a_score_that_cannot_be_true_ends_nothing(accuracy: float) -> None:
    """A share lies between 0 and 1; whoever says otherwise measured something else."""
    harness = scoring(job_file(stopping_target={"accuracy": 0.7}))
    harness.hear(JUDGE, score(accuracy))
    (failed,) = harness.noted("evaluation_failed")
    assert failed["reason"] == f"accuracy: expected a fraction, 0 to 1, got {accuracy}"
    assert keys.JobEnding(JOB) not in harness.asks
    assert harness.planned.round == 2
