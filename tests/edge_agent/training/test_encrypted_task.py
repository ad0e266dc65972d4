"""Encrypted tasks that an agent declines, with the reason, before it fetches anything."""

from dataclasses import replace

import pytest

from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.tenseal_contexts import INSTALL
from fedbus.errors import PrivacyError
from fedbus.wire.blobs import BlobRef, EncryptedVersion, ModelRef
from fedbus.wire.encryption import EncryptionTerms
from fedbus.wire.features import FeatureTerms
from fedbus.wire.messages import EvaluateTask, FeatureTask, TrainTask
from fedbus_edge_agent.training import encrypted_task
from fedbus_edge_agent.training.encrypted_task import KEY_MISSING, check_encrypted_task
from tests.edge_agent.harness import evaluate, train, version
from tests.edge_agent.training.private_tasks import EXAMPLE_TERMS, LOCAL_TERMS
from tests.masked_peer import TERMS as MASKING
from tests.sample_encryption import FIXED_POINT, sample_key, sample_terms

ENCRYPTION = sample_terms()
OTHER = "f" * 64
MINE = sample_key().id[:12]


def encrypted(key: str = ENCRYPTION.key) -> ModelRef:
    """Name an encrypted version."""
    anchor = BlobRef(digest="a" * 64, size=100)
    how = EncryptedVersion(
        scheme="bfv", key=key, parameters="b" * 64, anchor=1, anchor_weights=anchor
    )
    return replace(version(2), encryption=how)


def task(**changes: object) -> TrainTask:
    """Return a task of an encrypted job."""
    made = train(encryption=ENCRYPTION, ranges=(0,), max_examples=100)
    return replace(made, **changes)  # type: ignore[arg-type]  # any field


def terms(**changes: object) -> EncryptionTerms:
    """Return changed terms."""
    return replace(ENCRYPTION, **changes)  # type: ignore[arg-type]  # any field


WIDER = replace(FIXED_POINT, bits=24, max_agents=5)
FEATURES = FeatureTask(
    epoch=1,
    job="job-1",
    task=1,
    base=encrypted(),
    params=train().params,
    trainer=None,
    members=1,
    terms=FeatureTerms(cut_layer=1, epsilon=8.0, features=8),
)


@pytest.mark.parametrize(
    "message",
    [
        train(),
        evaluate(),
        task(),
        task(base=encrypted()),
        evaluate(version=encrypted()),
        task(privacy=LOCAL_TERMS, max_examples=1, facts=("norm_bit",)),
        task(privacy=EXAMPLE_TERMS, max_examples=1),
    ],
)
def test_a_task_that_shows_no_more_than_the_sum_is_accepted(
    message: TrainTask | EvaluateTask,
) -> None:
    """With the key of the file."""
    check_encrypted_task(message, sample_key())


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            train(base=encrypted()),
            "tiny version 2 is encrypted, and the job's updates are not: they would show what it",
        ),
        (FEATURES, "they would show what it holds"),
        (
            task(base=encrypted(), masking=MASKING),
            "the task has the terms of both encryption and masks: the update would be masked only",
        ),
        (task(masking=MASKING), "and the collector, which must not read what the version holds"),
        (
            task(base=encrypted(OTHER)),
            "tiny version 2 is encrypted with the key ffffffffffff, and this agent has MINE",
        ),
        (evaluate(version=encrypted(OTHER)), "is encrypted with the key ffffffffffff"),
        (
            task(encryption=terms(key=OTHER)),
            "the job's encryption key is ffffffffffff, and this agent has MINE",
        ),
        (
            task(encryption=terms(parameters=OTHER)),
            "the parameters of the job's encryption are not those of this agent's key file",
        ),
        (
            task(encryption=terms(fixed_point=WIDER)),
            "the job's encryption: 2 numbers in a slot, of which the sum can overflow",
        ),
        (task(sections=("control",)), "the section 'control' of updates, which would not be"),
        (
            task(facts=("steps", "norm_bit")),
            "the strategy needs steps of each training, which would not be encrypted; take the",
        ),
        (
            task(max_examples=101),
            "the task counts up to 101 examples, and the job's terms 100",
        ),
    ],
)
def test_a_task_that_cannot_be_kept_is_declined_by_name(
    message: TrainTask | EvaluateTask | FeatureTask, reason: str
) -> None:
    """An agent trusts no other node with its update."""
    with pytest.raises(PrivacyError) as raised:
        check_encrypted_task(message, sample_key())
    # The key is a new one in each process, and no part of the name of a test may be.
    assert reason.replace("MINE", MINE) in str(raised.value)


def test_an_agent_without_a_key_or_tenseal_declines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says what to do."""
    with pytest.raises(PrivacyError) as raised:
        check_encrypted_task(task(), None)
    assert str(raised.value) == KEY_MISSING
    monkeypatch.setattr(encrypted_task, "is_installed", lambda _package: False)
    with pytest.raises(PrivacyError) as raised:
        check_encrypted_task(evaluate(version=encrypted()), sample_key())
    assert str(raised.value) == INSTALL


def test_another_key_of_the_same_parameters_is_another_key() -> None:
    """TenSEAL would not notice."""
    other = SecretKey.generate(sample_key().parameters)
    with pytest.raises(PrivacyError, match="the job's encryption key is"):
        check_encrypted_task(task(), other)
