"""Sentences about ε."""

import pytest

from fedbus.cli.output.epsilon_text import (
    describe_privacy,
    format_epsilon,
    format_job_epsilon,
    format_model_epsilon,
    format_spent,
    format_sum,
    is_alone,
)
from fedbus.wire.privacy import Relation, Unit
from tests.fedbus.cli.output.spent_privacy import job, shown, spent


@pytest.mark.parametrize(
    ("epsilon", "text"),
    [(3.2041, "3.21"), (3.2, "3.2"), (0.0, "0"), (123.4, "124"), (None, "none")],
)
def test_an_epsilon_is_rounded_up(epsilon: float | None, text: str) -> None:
    """A smaller figure than the true one would promise too much."""
    assert format_epsilon(epsilon) == text


def test_a_version_and_a_job_without_a_mechanism_have_no_epsilon() -> None:
    """Their cell is empty; `none` is that of metric privacy."""
    assert (format_job_epsilon(None), format_model_epsilon(None)) == ("", "")
    assert (format_job_epsilon(spent()), format_model_epsilon(spent())) == ("3.21", "5.1")
    assert format_job_epsilon(spent(epsilon=None)) == "none"


def test_what_a_job_has_spent_is_one_phrase() -> None:
    """With its limit, if it has one."""
    assert format_spent(spent()) == "ε 3.21 of 4, δ 1e-05 (dp-fixed, 12 ledger entries)"
    assert format_spent(spent(target_epsilon=None, entries=1)) == (
        "ε 3.21, δ 1e-05 (dp-fixed, 1 ledger entry)"
    )
    none = spent(mechanism="metric-privacy", epsilon=None, target_epsilon=None)
    assert format_spent(none) == "no finite ε (metric-privacy, 12 ledger entries)"


def test_what_all_jobs_have_spent_is_one_phrase() -> None:
    """Without δ where there is no ε."""
    assert format_sum(spent()) == "ε 5.1, δ 2e-05"
    assert format_sum(spent(model_epsilon=None)) == "no ε that is known"
    assert not is_alone(spent())
    assert is_alone(spent(model_epsilon=3.2041, model_delta=1e-5))


def test_an_epsilon_is_told_in_plain_words() -> None:
    """24.7 is e^3.2041, rounded up."""
    assert describe_privacy(shown(job())) == (
        "A person who has every version up to 11 of digits learns at most ε 3.21 and δ 1e-05 about "
        "any one agent: no conclusion becomes more than 24.7 times as likely by its data, but for "
        "a probability of 1e-05; compared with a training in which its updates are zero."
    )


@pytest.mark.parametrize(
    ("unit", "relations", "ending"),
    [
        ("agent", ["add-or-remove-one"], "a training without it"),
        ("agent", ["zero-out", "zero-out"], "a training in which its updates are zero"),
        ("agent", ["replace-one"], "a training on any other data of it"),
        ("agent", ["add-or-remove-one", "replace-one"], "a training in which its updates are zero"),
        ("example", ["zero-out"], "a training in which its gradients are zero"),
        ("example", ["replace-one"], "a training on any other data in its place"),
        (
            "example",
            ["replace-one", "zero-out"],
            "a training in which its gradients or features are zero",
        ),
    ],
)
def test_a_sum_is_told_for_what_all_of_its_jobs_promise(
    unit: Unit, relations: list[Relation], ending: str
) -> None:
    """Of several relations, zeros in the place of one's data are a case of each."""
    jobs = [job(spent=spent(unit=unit, relation=each)) for each in relations]
    told = describe_privacy(shown(*jobs))
    assert f"about any one {'agent' if unit == 'agent' else 'training example'}: " in told
    assert told.endswith(f"; compared with {ending}.")


def test_an_epsilon_of_secret_cohorts_says_what_it_assumes() -> None:
    """One such job of several is enough."""
    told = describe_privacy(shown(job(), job(spent=spent(sampling="poisson"))))
    assert told.endswith(
        "its updates are zero. Agents were drawn at random (Poisson sampling): ε assumes that this "
        "person sees neither who was drawn nor how long rounds take."
    )


def test_a_large_epsilon_is_not_sold_as_a_bound() -> None:
    """Its factor has no meaning."""
    said = describe_privacy(shown(job(), epsilon=20.0))
    assert "ε 20 and δ 1e-05 about any one agent: so large an ε bounds nothing in practice" in said


@pytest.mark.parametrize(
    ("jobs", "sentence"),
    [
        (
            (job(spent=None, rounds=0),),
            "no job has trained digits since it was pushed; the ε of its next job begins at 0",
        ),
        ((job(spent=None),), "no job with a privacy mechanism has trained digits: it has no ε"),
        (
            (job(), job("plain", spent=None)),
            "digits as a whole has no ε: it has been trained without a privacy mechanism by plain",
        ),
        (
            (job("near", spent=spent(mechanism="metric-privacy", epsilon=None)),),
            "digits as a whole has no ε: there is no finite ε of near (metric-privacy)",
        ),
        (
            (job(), job("second", spent=spent(unit="example"))),
            (
                "digits as a whole has no ε: first protects each agent and second protects each "
                "training example: these ε have no sum"
            ),
        ),
        ((job(),), "digits as a whole has no ε: the ε of one of its jobs is unknown"),
    ],
)
def test_a_model_without_an_epsilon_says_why(jobs: tuple[object, ...], sentence: str) -> None:
    """A job without a mechanism, or one whose mechanism has no ε."""
    assert describe_privacy(shown(*jobs, epsilon=None)) == sentence  # type: ignore[arg-type]
