"""Spent privacy of jobs, for tests of commands."""

from dataclasses import replace
from typing import Any

from fedbus.wire.messages import PrivacyShown
from fedbus.wire.privacy import JobPrivacy, PrivacySpent
from tests.sample_spent import SAMPLE_SPENT

SPENT = replace(
    SAMPLE_SPENT,
    epsilon=3.2041,
    target_epsilon=4.0,
    entries=12,
    participations=3,
    model_epsilon=5.1,
    model_delta=2e-5,
)


def spent(**changes: Any) -> PrivacySpent:  # noqa: ANN401 - any field
    """State what a job has spent."""
    return replace(SPENT, **changes)


def job(name: str = "first", **changes: Any) -> JobPrivacy:  # noqa: ANN401 - any field
    """Describe a job with ten rounds, and two ledger entries of failed ones."""
    plain: dict[str, Any] = {
        "job": name,
        "rounds": 10,
        "running": False,
        "spent": SPENT,
        "failed": 2,
        "first_version": 2,
        "last_version": 11,
    }
    return JobPrivacy(**(plain | changes))


def shown(*jobs: JobPrivacy, epsilon: float | None = 3.2041, delta: float = 1e-5) -> PrivacyShown:
    """Build the repository's answer."""
    return PrivacyShown(model="digits", version=11, jobs=jobs, epsilon=epsilon, delta=delta)
