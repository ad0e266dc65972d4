"""Tasks that an agent declines because their updates could be read."""

from pathlib import Path

import pytest

from fedbus.errors import PrivacyError
from fedbus.wire.messages import Decline, TrainTask
from fedbus_edge_agent import keys
from fedbus_edge_agent.training.required_protection import RequiredProtection, check_protection
from tests.edge_agent.harness import CONTROLLER, JOB, AgentHarness, evaluate, train
from tests.edge_agent.training.test_encrypted_task import ENCRYPTION, FEATURES
from tests.masked_peer import TERMS

PLAIN = train()
ENCRYPTED = train(encryption=ENCRYPTION)
MASKED = train(masking=TERMS)


def declined(task: TrainTask, required: RequiredProtection) -> str:
    """Return why a task is declined, or ""."""
    try:
        check_protection(task, required)
    except PrivacyError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("required", "accepted"),
    [
        ("none", (PLAIN, ENCRYPTED, MASKED)),
        ("any", (ENCRYPTED, MASKED)),
        ("encryption", (ENCRYPTED,)),
        ("secure-aggregation", (MASKED,)),
    ],
)
def test_only_tasks_with_the_required_protection_are_accepted(
    required: RequiredProtection, accepted: tuple[TrainTask, ...]
) -> None:
    """Evaluations send metrics, and no update."""
    tasks = (PLAIN, ENCRYPTED, MASKED)
    assert [task in accepted for task in tasks] == [not declined(task, required) for task in tasks]
    check_protection(evaluate(), required)


def test_the_reason_says_what_would_work() -> None:
    """In the words of the job file."""
    assert declined(PLAIN, "any") == (
        "the task protects its update by nothing, and FEDBUS_REQUIRE_PROTECTION is any: submit the "
        "job with privacy-mechanisms.secure-aggregation or homomorphic"
    )
    assert declined(MASKED, "encryption") == (
        "the task protects its update by secure-aggregation, and FEDBUS_REQUIRE_PROTECTION is "
        "encryption: submit the job with privacy-mechanisms.homomorphic"
    )


def test_features_are_readable() -> None:
    """One of the other agents trains with them."""
    check_protection(FEATURES, "none")
    with pytest.raises(PrivacyError, match="sends features that another agent reads"):
        check_protection(FEATURES, "any")


def test_an_agent_declines_a_task_before_it_fetches_anything(tmp_path: Path) -> None:
    """A controller that left the protection out gets no update."""
    agent = AgentHarness(tmp_path, required="any")
    agent.receive(CONTROLLER, PLAIN)
    assert agent.fetches == {}
    told = agent.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert told.startswith("the task protects its update by nothing")
