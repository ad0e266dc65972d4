"""Sum of what jobs have spent on a model, and which jobs may continue it."""

from dataclasses import replace

import pytest

from fedbus.wire.privacy import JobPrivacy
from fedbus_repository.stores.model_epsilon import (
    is_used,
    lost_epsilon,
    model_spent,
    new_job_fault,
    spent_by_each,
)
from tests.repository.harness import MODEL, TERMS, spent_with

PRIVATE = JobPrivacy(job="a", rounds=2, running=False, spent=spent_with(epsilon=1.5))
WITHOUT = JobPrivacy(job="b", rounds=1, running=False, spent=None)
IDLE = JobPrivacy(job="c", rounds=0, running=False, spent=None)
METRIC = JobPrivacy(
    job="d", rounds=1, running=False, spent=spent_with(mechanism="metric-privacy", epsilon=None)
)
OF_EXAMPLES = JobPrivacy(
    job="e", rounds=1, running=False, spent=spent_with(unit="example", epsilon=0.5)
)


@pytest.mark.parametrize(
    ("jobs", "epsilon", "delta"),
    [
        ([], 0.0, 0.0),
        ([PRIVATE, IDLE], 1.5, 1e-5),
        ([PRIVATE, IDLE, PRIVATE], 3.000001, 2e-5),
        ([WITHOUT], None, 0.0),
        ([PRIVATE, WITHOUT], None, 1e-5),
        ([PRIVATE, METRIC], None, 2e-5),
        ([PRIVATE, OF_EXAMPLES], None, 2e-5),
        ([OF_EXAMPLES], 0.5, 1e-5),
    ],
    ids=["none", "one", "two", "without", "one without", "metric", "two units", "examples"],
)
def test_what_jobs_spent_adds_up(
    jobs: list[JobPrivacy], epsilon: float | None, delta: float
) -> None:
    """Rounded up; unknown if one is; a job that committed nothing and drew no noise is free."""
    assert model_spent(jobs) == (epsilon, delta)


MEND = (
    "; push its weights again: `fedbus models pull digits -o digits.npz`, then `fedbus models push "
    "SPEC.json --weights digits.npz --reset`, or with `--name OTHER` in place of `--reset`, which "
    "makes another model (for a factory, MODULE:FACTORY in place of SPEC.json); their own ε then "
    "counts as 0, and is for you to state"
)


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (WITHOUT, "job 'b' has trained it without a privacy mechanism"),
        (METRIC, "job 'd' has trained it with metric-privacy, without an ε"),
        (
            OF_EXAMPLES,
            (
                "the ε of job 'e' protects one example, and that of this job one agent, so there"
                " is no sum"
            ),
        ),
    ],
)
def test_a_model_of_unknown_epsilon_is_refused(job: JobPrivacy, why: str) -> None:
    """What a job would add to is not there; metric privacy adds to nothing."""
    assert new_job_fault(TERMS, MODEL, [PRIVATE, job]) == (
        f"the ε of model 'digits' is unknown: {why}{MEND}"
    )
    assert new_job_fault(replace(TERMS, release="metric"), MODEL, [job]) is None


def test_a_model_of_known_epsilon_is_continued() -> None:
    """Also one that no job trained."""
    for jobs in ([], [PRIVATE, IDLE]):
        assert new_job_fault(TERMS, MODEL, jobs) is None


def test_a_job_without_a_mechanism_costs_a_model_its_epsilon() -> None:
    """Its user is warned, unless there is none to lose."""
    assert lost_epsilon(MODEL, [PRIVATE]) == (
        "model 'digits' has an ε of 1.5, and this job has no privacy mechanism: after its first "
        "round the model has no ε, and no job with a mechanism can train it until its weights are "
        "pushed again"
    )
    for jobs in ([], [IDLE], [PRIVATE, WITHOUT]):
        assert lost_epsilon(MODEL, jobs) is None


def test_a_warning_never_states_less_than_what_was_spent() -> None:
    """ε is rounded up there, as in all other texts."""
    assert PRIVATE.spent is not None
    spent = replace(PRIVATE.spent, epsilon=7.877563)
    warning = lost_epsilon(MODEL, [replace(PRIVATE, spent=spent)] * 3)
    assert warning is not None
    assert "has an ε of 23.7," in warning  # 23.632689


def test_a_model_is_used_by_rounds_and_by_noise() -> None:
    """Noise alone is that of rounds that failed; a job that was cancelled at once used nothing."""
    failed = replace(PRIVATE, rounds=0)
    assert [is_used(jobs) for jobs in ([], [IDLE], [IDLE, WITHOUT], [failed])] == [
        *(False, False, True, True)
    ]


def test_what_each_job_spent_is_of_one_unit() -> None:
    """As the accountant adds it to what the next job spends."""
    jobs = [PRIVATE, IDLE, OF_EXAMPLES, WITHOUT]
    assert spent_by_each(jobs, "agent") == ((1.5, 1e-5), (None, 1e-5), (None, 0.0))
    assert spent_by_each(jobs, "example") == ((None, 1e-5), (0.5, 1e-5), (None, 0.0))
