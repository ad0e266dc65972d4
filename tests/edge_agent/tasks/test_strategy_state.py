"""The arrays of a job's strategy, which are fetched as the base version is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.model.blob import encode
from fedbus.model.sections import state_layout
from fedbus.training.params import PluginChoice, TrainingParams
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.messages import Decline, TrainTask
from fedbus_edge_agent import keys
from fedbus_edge_agent.tasks.model_cache import MAX_MODELS
from fedbus_edge_agent.training.trainers import Trainers
from tests.edge_agent.harness import (
    CONTROLLER,
    JOB,
    LAYOUT,
    REPOSITORY,
    AgentHarness,
    train,
    version,
    weights_of,
)
from tests.edge_agent.training.strategy_package import install_strategies
from tests.plugin_package import Install

STATE = bytes(encode({"m": np.arange(4, dtype=np.float32)}, state_layout(LAYOUT, ("m",))))


def task(number: int = 1, job: str = JOB, state: bytes | BlobRef | None = STATE) -> TrainTask:
    """Return a task whose strategy has a state."""
    ref = blob_ref_of(state) if isinstance(state, bytes) else state
    return train(number, job=job, state_names=("m",), state=ref)


def deliver(harness: AgentHarness, state: bytes = STATE) -> None:
    """Deliver the inputs of the tasks, the state last."""
    ref = blob_ref_of(state)
    harness.deliver_inputs(ref.digest)
    while keys_of_state := [key for key in harness.input_fetches() if key.digest == ref.digest]:
        harness.complete_fetch(keys_of_state[0], state)


def test_the_state_is_fetched_from_where_the_base_is_with_all_members(
    harness: AgentHarness,
) -> None:
    """Once the model's layout is known, which tells its size."""
    harness.receive(CONTROLLER, task())
    digest = blob_ref_of(STATE).digest
    assert digest not in {key.digest for key in harness.input_fetches()}
    harness.deliver_inputs(digest)
    (fetch,) = harness.fetches.values()
    assert (fetch.location.source, fetch.location.blob_ref) == (REPOSITORY, blob_ref_of(STATE))
    assert fetch.members == 3
    assert harness.runs == []
    deliver(harness)
    harness.run_calls()
    assert harness.runner.states == [STATE]
    assert harness.offered()


def test_a_task_without_a_state_gets_none(harness: AgentHarness) -> None:
    """In the first round its arrays are zeros."""
    harness.trained(task(state=None))
    assert harness.runner.states == [None]


def test_a_state_is_kept_for_the_next_task_of_its_job_only(harness: AgentHarness) -> None:
    """A repeated round need not fetch it again; each job has its own."""
    harness.receive(CONTROLLER, task())
    deliver(harness)
    harness.run_calls()
    harness.trained(task(2))
    assert harness.runner.states == [STATE, STATE]
    harness.receive(CONTROLLER, task(job="job-2"))
    assert [key.digest for key in harness.input_fetches()] == [blob_ref_of(STATE).digest]


def test_the_states_of_a_bounded_number_of_jobs_are_kept(harness: AgentHarness) -> None:
    """An agent is not always told when a job ends; the spools of the oldest are closed."""
    for number in range(MAX_MODELS + 2):
        harness.receive(CONTROLLER, task(job=f"job-{number}"))
        deliver(harness)
        harness.run_calls()
    assert harness.spools.used == MAX_MODELS * len(STATE) + len(weights_of(1))


def test_a_state_of_another_size_is_refused_before_it_is_fetched(harness: AgentHarness) -> None:
    """No memory is reserved for it."""
    huge = BlobRef(digest=blob_ref_of(STATE).digest, size=2**24)
    harness.receive(CONTROLLER, task(state=huge))
    harness.deliver_inputs()
    declined = harness.asked(keys.TaskReply(JOB, 1), Decline)
    expected = f"the strategy's state has {2**24} bytes; {len(STATE)} belong to this model"
    assert declined.reason == expected
    harness.receive(CONTROLLER, train(2, state=blob_ref_of(STATE)))
    assert "a layout of 0 tensors" in harness.asked(keys.TaskReply(JOB, 2), Decline).reason


def test_a_state_that_may_be_damaged_is_fetched_again(harness: AgentHarness) -> None:
    """The task that found it fails; the next one has a new copy."""
    harness.runner.failure = lambda: ValueError("damaged")
    harness.receive(CONTROLLER, task())
    deliver(harness)
    harness.run_calls()
    assert harness.spools.used == 0
    harness.receive(CONTROLLER, task(2))
    harness.deliver_inputs(blob_ref_of(STATE).digest)
    assert [key.digest for key in harness.input_fetches()] == [blob_ref_of(STATE).digest]


def test_a_failed_fetch_of_the_state_is_repeated(harness: AgentHarness) -> None:
    """As that of a base is."""
    harness.receive(CONTROLLER, task())
    harness.deliver_inputs(blob_ref_of(STATE).digest)
    (key,) = harness.input_fetches()
    harness.fail_fetch(key)
    harness.wait(3)
    deliver(harness)
    harness.run_calls()
    assert harness.runner.states == [STATE]


MEGABYTES = 2**20


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, 500),
        ({"sections": ("variate",)}, 600),
        ({"state": BlobRef(digest="0" * 64, size=100 * MEGABYTES), "state_names": ("m",)}, 600),
        ({"params": TrainingParams(objective=PluginChoice(id="prox"))}, 1000),
        ({"params": TrainingParams(objective=PluginChoice(id="scaffold"))}, 1000),
        ({"params": TrainingParams(objective=PluginChoice(id="proximal"))}, 700),
    ],
    ids=["plain", "section", "state", "objective", "scaffold", "proximal"],
)
def test_memory_for_a_strategys_arrays_is_counted_before_a_task_is_accepted(
    tmp_path: Path, install: Install, changes: dict[str, Any], needed: int
) -> None:
    """A third-party objective is taken for one with arrays of its own: it is not imported yet."""
    install_strategies(install)
    harness = AgentHarness(tmp_path, memory_mb=needed - 1, trainers=Trainers())
    weights = BlobRef(digest=version().weights.digest, size=100 * MEGABYTES)
    base = replace(version(), weights=weights)
    harness.receive(CONTROLLER, train(base=base, **changes))
    declined = harness.asked(keys.TaskReply(JOB, 1), Decline)
    assert declined.reason.startswith(f"training needs about {needed} MiB of memory")
    harness.memory_mb = needed
    harness.receive(CONTROLLER, train(2, base=base, **changes))
    assert keys.TaskReply(JOB, 2) not in harness.asks


def test_an_objective_that_is_not_installed_is_declined_before_anything_is_fetched(
    tmp_path: Path,
) -> None:
    """No round counts on it."""
    harness = AgentHarness(tmp_path, trainers=Trainers())
    params = TrainingParams(objective=PluginChoice(id="lost"))
    harness.receive(CONTROLLER, train(params=params))
    declined = harness.asked(keys.TaskReply(JOB, 1), Decline)
    assert declined.reason.startswith("no objectives plug-in named 'lost'")
    assert harness.fetches == {}
