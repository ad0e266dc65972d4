"""Thin blobs and frozen bits: what an agent of such a job fetches, and keeps."""

from dataclasses import replace

import numpy as np
import pytest

from fedbus import compression
from fedbus.model.blob import decode
from fedbus.model.frozen_bits import FrozenBits
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import BlobRef, CompressedBlob, ModelRef, blob_ref_of
from fedbus.wire.messages import Decline, TrainTask
from fedbus_edge_agent import keys
from tests.edge_agent.harness import (
    CONTROLLER,
    JOB,
    LAYOUT,
    REPOSITORY,
    AgentHarness,
    evaluate,
    train,
    version,
    weights_of,
)

STEPS = (PluginChoice(id="quantize", parameters={"bits": 8}),)


def thin_of(number: int = 1) -> bytes:
    """Return the thin blob of a version."""
    arrays, rng = decode(weights_of(number), LAYOUT), np.random.default_rng(number)
    return bytes(compression.encode(arrays, LAYOUT, STEPS, rng, content="plain"))


def thin_version(number: int = 1) -> ModelRef:
    """Return the reference of a version with its thin blob."""
    thin = CompressedBlob(blob=blob_ref_of(thin_of(number)), compression=STEPS)
    return replace(version(number), thin=thin)


def bits(*frozen: int) -> bytes:
    """Return the blob in which these numbers are frozen."""
    made = FrozenBits(4)
    for at in frozen:
        made.freeze(at, np.array([True]))
    return bytes(made.blob(LAYOUT))


def freezing(number: int, content: bytes, job: str = JOB) -> TrainTask:
    """Return a task that freezes numbers."""
    return train(number, job=job, frozen=blob_ref_of(content))


def deliver(harness: AgentHarness, content: bytes) -> None:
    """Deliver all that is fetched, and blobs of this content last."""
    digest = blob_ref_of(content).digest
    harness.deliver_inputs(digest)
    while wanted := [key for key in harness.input_fetches() if key.digest == digest]:
        harness.complete_fetch(wanted[0], content)


def test_a_thin_blob_is_fetched_in_place_of_the_weights(harness: AgentHarness) -> None:
    """With all members, as the weights are."""
    harness.receive(CONTROLLER, train(base=thin_version()))
    fetched = {each.location.blob_ref: each for each in harness.fetches.values()}
    assert version().weights not in fetched
    fetch = fetched[blob_ref_of(thin_of())]
    assert (fetch.location.source, fetch.members) == (REPOSITORY, 3)
    deliver(harness, thin_of())
    harness.run_calls()
    assert harness.runner.done == [("train", 1, thin_of())]
    harness.receive(CONTROLLER, train(2, base=thin_version()))
    assert harness.fetches == {}


def test_an_evaluation_uses_the_version_itself(harness: AgentHarness) -> None:
    """Also if the reference names a thin blob, and the agent has it; neither replaces the other."""
    harness.receive(CONTROLLER, train(base=thin_version()))
    deliver(harness, thin_of())
    harness.run_calls()
    harness.receive(CONTROLLER, evaluate(1, version=thin_version()))
    assert [key.digest for key in harness.input_fetches()] == [version().weights.digest]
    harness.deliver_inputs()
    harness.run_calls()
    assert harness.runner.done[-1] == ("evaluate", 1, weights_of(1))
    harness.receive(CONTROLLER, train(2, base=thin_version()))
    assert harness.fetches == {}


def test_weights_inside_a_task_are_not_its_thin_blob(harness: AgentHarness) -> None:
    """The agent starts from what the task names."""
    harness.receive(CONTROLLER, train(base=thin_version(), inline=weights_of(1)))
    assert blob_ref_of(thin_of()).digest in {key.digest for key in harness.input_fetches()}


def test_frozen_bits_are_fetched_once_for_a_job(harness: AgentHarness) -> None:
    """Another round of the job may have others."""
    first, second = bits(0, 2), bits(1)
    harness.receive(CONTROLLER, freezing(1, first))
    deliver(harness, first)
    harness.run_calls()
    harness.trained(freezing(2, first))
    harness.receive(CONTROLLER, freezing(3, second))
    deliver(harness, second)
    harness.run_calls()
    harness.trained(train(4))
    assert harness.runner.frozen == [first, first, second, None]


def test_bits_of_another_size_are_refused_before_they_are_fetched(harness: AgentHarness) -> None:
    """No memory is reserved for them."""
    huge = BlobRef(digest=blob_ref_of(b"").digest, size=2**24)
    harness.receive(CONTROLLER, train(frozen=huge))
    harness.deliver_inputs()
    declined = harness.asked(keys.TaskReply(JOB, 1), Decline)
    assert declined.reason == (
        f"the strategy's frozen bits have {2**24} bytes; {len(bits())} belong to this model"
    )


def test_a_task_whose_steps_are_unknown_here_is_declined(harness: AgentHarness) -> None:
    """Before anything is fetched."""
    thin = CompressedBlob(blob=blob_ref_of(b""), compression=(PluginChoice(id="future"),))
    harness.receive(CONTROLLER, train(base=replace(version(), thin=thin)))
    declined = harness.asked(keys.TaskReply(JOB, 1), Decline)
    assert declined.reason.startswith("no compression step 'future'")
    assert harness.fetches == {}


@pytest.mark.parametrize("damaged", [thin_of(), bits(3)], ids=["thin blob", "bits"])
def test_what_may_be_damaged_is_fetched_again(harness: AgentHarness, damaged: bytes) -> None:
    """The task that found it fails; the next one has a new copy."""
    harness.runner.failure = lambda: ValueError("damaged")
    thin = damaged == thin_of()
    message = train(base=thin_version()) if thin else freezing(1, damaged)
    harness.receive(CONTROLLER, message)
    deliver(harness, damaged)
    harness.run_calls()
    harness.receive(CONTROLLER, replace(message, task=2))
    while harness.input_fetches():
        wanted = {key.digest for key in harness.input_fetches()}
        if blob_ref_of(damaged).digest in wanted:
            return
        harness.deliver_inputs(blob_ref_of(damaged).digest)
    pytest.fail("it was not fetched again")
