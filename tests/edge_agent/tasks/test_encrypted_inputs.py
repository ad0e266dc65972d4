"""Inputs of encrypted tasks: a ciphertext for each round, and the anchor once."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedbus.encryption.encrypted_blob import encrypted_bounds
from fedbus.wire.blobs import BlobRef, EncryptedVersion, ModelRef, blob_ref_of
from fedbus.wire.messages import Decline, EvaluateTask, TrainTask
from fedbus_edge_agent import keys
from fedbus_edge_agent.tasks.model_cache import CachedModels
from tests.edge_agent.harness import (
    CONTROLLER,
    FILE,
    JOB,
    LAYOUT,
    SPEC,
    AgentHarness,
    evaluate,
    train,
    version,
    weights_of,
)
from tests.edge_agent.tasks.test_model_cache import add
from tests.sample_encryption import sample_key, sample_terms

TERMS = sample_terms()
ANCHOR = version(1).weights
SIZE = encrypted_bounds(TERMS, LAYOUT).least
CIPHERTEXT = b"c" * SIZE


def encrypted(number: int = 2, data: bytes = CIPHERTEXT, anchor: BlobRef = ANCHOR) -> ModelRef:
    """Name an encrypted version with these bytes."""
    how = EncryptedVersion(
        scheme="bfv", key=TERMS.key, parameters=TERMS.parameters, anchor=1, anchor_weights=anchor
    )
    return replace(version(number), weights=blob_ref_of(data), encryption=how)


def task(number: int = 1, base: ModelRef | None = None) -> TrainTask:
    """Return a task of an encrypted job."""
    return train(number, encryption=TERMS, ranges=(0,), max_examples=1, base=base or encrypted())


def test_the_anchor_is_fetched_once_for_many_versions() -> None:
    """A round costs its ciphertext, and no plain weights again."""
    models, ref = CachedModels(), encrypted()
    add(models, ref, SPEC, FILE)
    assert models.missing(ref) == [ref.weights, ANCHOR]
    add(models, ref, CIPHERTEXT, weights_of(1))
    assert models.missing(ref) == []
    assert bytes(models.model(ref).anchor or b"") == weights_of(1)
    assert bytes(models.weights(ref)) == CIPHERTEXT
    later = encrypted(3, b"d" * SIZE)
    assert models.missing(later) == [later.weights]
    assert models.model(version(3)).anchor is None


def test_the_base_of_the_first_round_becomes_the_anchor() -> None:
    """It is here already when the second round begins."""
    models, first = CachedModels(), version(1)
    add(models, first, SPEC, FILE, weights_of(1))
    ref = encrypted()
    assert models.missing(ref) == [ref.weights]
    add(models, ref, CIPHERTEXT)
    assert bytes(models.model(ref).anchor or b"") == weights_of(1)
    models.drop_weights(ref)  # the task failed, perhaps because of one of them
    assert models.missing(ref) == [ref.weights, ANCHOR]


def test_a_task_runs_with_ciphertext_and_anchor(tmp_path: Path) -> None:
    """Both are fetched by multicast, as the weights of a plain base are."""
    harness = AgentHarness(tmp_path, encryption_key=sample_key())
    order = task()
    harness.receive(CONTROLLER, order)
    blobs = {blob_ref_of(data).digest: data for data in (CIPHERTEXT, SPEC, FILE, weights_of(1))}
    while coming := harness.input_fetches():
        assert harness.fetches[coming[0]].members == order.members
        harness.complete_fetch(coming[0], blobs[coming[0].digest])
    harness.run_calls()
    assert harness.offered()
    assert harness.runner.done == [("train", 1, CIPHERTEXT)]


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        (encrypted(2, b"c" * 100), "the encrypted base has 100 bytes; "),
        (encrypted(anchor=BlobRef(digest="a" * 64, size=17)), "the anchor has 17 bytes; "),
    ],
)
def test_sizes_that_cannot_be_are_declined(tmp_path: Path, base: ModelRef, reason: str) -> None:
    """As soon as the layout is known."""
    harness = AgentHarness(tmp_path, encryption_key=sample_key())
    harness.receive(CONTROLLER, task(base=base))
    (spec,) = [key for key in harness.input_fetches() if key.digest == base.spec.digest]
    harness.complete_fetch(spec, SPEC)
    declined = harness.asked(keys.TaskReply(JOB, 1), Decline)
    assert declined.reason.startswith(reason)


@pytest.mark.parametrize("message", [task(), evaluate(version=encrypted())])
def test_a_task_without_a_key_is_declined_before_anything_is_fetched(
    tmp_path: Path, message: TrainTask | EvaluateTask
) -> None:
    """The controller does not ask such agents; an evaluator without the key cannot score."""
    harness = AgentHarness(tmp_path)
    harness.receive(CONTROLLER, message)
    assert not harness.fetches
    text = " ".join(str(action) for action in harness.last)
    assert "this agent has no encryption key: set FEDBUS_ENCRYPTION_KEY" in text


def test_memory_for_encryption_is_part_of_what_a_task_needs(tmp_path: Path) -> None:
    """Numbers are float64 while they are packed, and the weights are there more than once."""
    large = BlobRef(digest="a" * 64, size=60 * 2**20)
    plain = AgentHarness(tmp_path / "plain")
    plain.receive(CONTROLLER, train(base=replace(version(), weights=large)))
    assert plain.fetches
    harness = AgentHarness(tmp_path / "encrypted", encryption_key=sample_key())
    harness.receive(CONTROLLER, task(base=encrypted(anchor=large)))
    declined = harness.asked(keys.TaskReply(JOB, 1), Decline)
    assert "memory" in declined.reason
