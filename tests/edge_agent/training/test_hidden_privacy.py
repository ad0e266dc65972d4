"""Private tasks with hidden updates that an agent declines: their ε would not hold."""

from dataclasses import replace

import pytest

from fedbus.errors import PrivacyError
from fedbus.wire.messages import TrainTask
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus_edge_agent.training.hidden_privacy import check_hidden_privacy
from tests.edge_agent.harness import train
from tests.edge_agent.training.private_tasks import EXAMPLE_TERMS, LOCAL_TERMS, TERMS
from tests.sample_encryption import FIXED_POINT, sample_terms

CENTRAL = replace(TERMS, clipping="trusted")
MASKING = SecureAggregationTerms(
    fixed_point=FIXED_POINT, neighbours=20, threshold=0.67, step_seconds=10.0
)
ENCRYPTED = train(encryption=sample_terms(), ranges=(0,), max_examples=1)
MASKED = train(masking=MASKING, ranges=(0,), max_examples=1)


@pytest.mark.parametrize(
    "task",
    [
        train(privacy=TERMS, max_examples=1),
        replace(ENCRYPTED, max_examples=100),
        replace(ENCRYPTED, privacy=LOCAL_TERMS),
        replace(ENCRYPTED, privacy=EXAMPLE_TERMS),
        replace(MASKED, privacy=LOCAL_TERMS),
        replace(MASKED, privacy=CENTRAL),
    ],
)
def test_a_task_whose_terms_hold_is_accepted(task: TrainTask) -> None:
    """The collector of a masked round can read the sum, so it can add the noise."""
    check_hidden_privacy(task)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (
            replace(ENCRYPTED, privacy=CENTRAL),
            "has the collector add the noise, which cannot reach an encrypted sum; set server",
        ),
        (
            replace(ENCRYPTED, privacy=replace(LOCAL_TERMS, sampling="poisson")),
            "poisson, but the number of updates in an encrypted version can be read",
        ),
        (
            replace(MASKED, privacy=replace(CENTRAL, sampling="poisson")),
            "poisson, but agents of a masked round are told each other's names",
        ),
        (
            replace(MASKED, privacy=TERMS),
            "contradict how updates are hidden: the collector measures updates that it cannot read",
        ),
        (
            replace(ENCRYPTED, privacy=LOCAL_TERMS, max_examples=100),
            "protects updates that count alike, and the task counts up to 100 examples",
        ),
        (
            replace(MASKED, privacy=CENTRAL, max_examples=2),
            "protects updates that count alike, and the task counts up to 2 examples",
        ),
    ],
)
def test_a_task_whose_terms_do_not_hold_is_declined(task: TrainTask, reason: str) -> None:
    """Whatever a controller accepted: the agent's data is at stake."""
    with pytest.raises(PrivacyError) as raised:
        check_hidden_privacy(task)
    assert str(raised.value).startswith("the privacy mechanism 'dp-trial'")
    assert reason in str(raised.value)
