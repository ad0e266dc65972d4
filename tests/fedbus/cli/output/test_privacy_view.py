"""Privacy that the jobs of a model have spent, as people see it."""

import pytest

from fedbus.cli.output.privacy_view import COLUMNS, print_privacy
from fedbus.wire.messages import PrivacyShown
from tests.fedbus.cli.output.spent_privacy import job, shown, spent


def printed(capsys: pytest.CaptureFixture[str], answer: PrivacyShown) -> list[str]:
    """Print an answer; return its lines."""
    print_privacy(answer)
    return capsys.readouterr().out.splitlines()


def test_each_job_has_a_line_and_the_model_a_sum(capsys: pytest.CaptureFixture[str]) -> None:
    """Entries of failed rounds are marked, and so is a job that goes on."""
    second = spent(
        epsilon=1.0, target_epsilon=None, sampling="poisson", relation="add-or-remove-one"
    )
    running = job("second", running=True, failed=0, spent=second, first_version=12, last_version=12)
    lines = printed(capsys, shown(job(), running, epsilon=4.2041, delta=2e-5))
    assert [line.split("\t") for line in lines[:3]] == [
        [*COLUMNS],
        [
            *("first", "dp-fixed", "3.21 of 4", "1e-05", "10", "12 (2 of failed rounds)"),
            *("agent", "zero-out", "any", "2-11", ""),
        ],
        [
            *("second (running)", "dp-fixed", "1", "1e-05", "10", "12"),
            *("agent", "add-or-remove-one", "poisson", "12", ""),
        ],
    ]
    assert lines[3:5] == ["", "digits, version 11: ε 4.21, δ 2e-05, the sum of all jobs"]
    assert lines[5].startswith("A person who has every version up to 11 of digits learns at most")
    assert lines[6:] == ["job second goes on, and its ε grows with each round"]


def test_a_job_without_a_mechanism_has_no_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """A job that has not committed a round has no versions."""
    plain = job("plain", spent=None, running=True, first_version=None, last_version=None)
    header, line, said = printed(capsys, shown(plain, epsilon=None, delta=0.0))
    assert header.split("\t") == [*COLUMNS]
    assert line.split("\t") == ["plain (running)", "none", "none", "", "10", *[""] * 6]
    assert said == "no job with a privacy mechanism has trained digits: it has no ε"


def test_a_job_that_ended_before_its_first_round_costs_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is listed with its mechanism, and has not taken the model's ε."""
    idle = {"spent": None, "rounds": 0, "failed": 0, "first_version": None, "last_version": None}
    private, plain = job("private", mechanism="dp-sgd", **idle), job("plain", **idle)
    lines = printed(capsys, shown(job(), private, plain))
    assert lines[2].split("\t") == ["private", "dp-sgd", "", "", "0", *[""] * 6]
    assert lines[3].split("\t") == ["plain", "none", "", "", "0", *[""] * 6]
    assert lines[5] == "digits, version 11: ε 3.21, δ 1e-05, the sum of all jobs"


def test_a_model_that_has_lost_its_epsilon_has_no_sum(capsys: pytest.CaptureFixture[str]) -> None:
    """Its δ alone says nothing; the next line names the job."""
    idle = job("idle", spent=None, rounds=0)
    lines = printed(capsys, shown(job(), job("plain", spent=None), idle, epsilon=None))
    assert lines[2].split("\t")[:3] == ["plain", "none", "none"]
    assert lines[5:] == [
        "digits, version 11: no ε",
        "digits as a whole has no ε: it has been trained without a privacy mechanism by plain",
    ]


def test_a_model_that_was_only_pushed_has_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    """It says so."""
    assert printed(capsys, shown(epsilon=0.0, delta=0.0)) == [
        "no job has trained digits",
        "no job has trained digits since it was pushed; the ε of its next job begins at 0",
    ]
