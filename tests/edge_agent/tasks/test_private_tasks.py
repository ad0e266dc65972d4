"""Private tasks of an agent's core: declined before their inputs are fetched, and shown nowhere."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedbus.blobs.spool import Spools
from fedbus.core.actions import Introduce
from fedbus.core.events import Woke
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.messages import Decline, Offer, StopJob, TrainTask
from fedbus_edge_agent import keys
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.tasks.model_cache import MAX_MODELS, CachedModels
from fedbus_edge_agent.training.trainers import Trainers
from tests.edge_agent.harness import (
    COLLECTOR,
    CONTROLLER,
    JOB,
    AgentHarness,
    evaluate,
    spec_of,
    train,
    update_of,
    version,
)
from tests.edge_agent.training.private_tasks import LOCAL_TERMS, TERMS, private, with_dp_sgd


def core_of(harness: AgentHarness) -> AgentCore:
    """Return the core as an agent's."""
    assert isinstance(harness.core, AgentCore)
    return harness.core


def test_a_private_task_without_its_mechanism_is_declined_at_once(harness: AgentHarness) -> None:
    """Nothing is fetched for it."""
    harness.receive(CONTROLLER, train(privacy=TERMS))
    reason = harness.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert "nothing would protect the update" in reason
    assert not harness.fetches


def test_a_mechanism_that_is_not_installed_is_declined_at_once(tmp_path: Path) -> None:
    """As any transform."""
    harness = AgentHarness(tmp_path, trainers=Trainers())
    harness.receive(CONTROLLER, private(train()))
    reason = harness.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert "no update_transforms plug-in named 'dp-trial'" in reason
    assert not harness.fetches


@pytest.mark.parametrize("task", [private(train()), with_dp_sgd(train())])
def test_no_node_sees_that_an_agent_trains_in_private(
    harness: AgentHarness, task: TrainTask
) -> None:
    """Neither its state, its progress, its counters nor its models show it, before or after."""
    core = core_of(harness)
    before = core.current_facts()
    harness.receive(CONTROLLER, task)
    harness.handle(Woke(keys.StateRefresh()))
    assert not any(isinstance(action, Introduce) for action in harness.last)
    assert (core.current_facts(), core.active_jobs(), core.progress()) == (before, {}, 0)
    harness.deliver_inputs()
    assert harness.runs
    assert (core.current_facts(), core.active_jobs(), core.progress()) == (before, {}, 0)
    harness.run_calls()
    assert harness.offered()
    assert (core.current_facts(), core.active_jobs(), core.progress()) == (before, {}, 0)
    assert not core.counters.outcomes
    assert not core.counters.jobs


@pytest.mark.parametrize("task", [None, train(), private(train())], ids=["idle", "open", "private"])
def test_published_memory_and_storage_are_those_of_the_start(
    harness: AgentHarness, task: TrainTask | None
) -> None:
    """Whatever the agent does: all users may read them. Each task is judged by those of now."""
    core = core_of(harness)
    first = core.facts()
    assert first is not None
    assert first.memory_mb == harness.memory_mb == 512
    if task is not None:
        harness.receive(CONTROLLER, task)
    harness.memory_mb = 300
    now = core.facts()
    assert now is not None
    assert (now.memory_mb, now.storage_mb) == (512, first.storage_mb)
    assert core.current_facts().memory_mb == 300


def test_no_node_sees_that_an_agent_has_declined_in_private(harness: AgentHarness) -> None:
    """Its counters are those of other tasks."""
    harness.receive(CONTROLLER, train(privacy=TERMS))
    assert harness.asked(keys.TaskReply(JOB, 1), Decline)
    assert not core_of(harness).counters.outcomes


def test_a_private_training_that_is_dropped_is_not_shown_either(harness: AgentHarness) -> None:
    """Its thread still works for a while."""
    core = core_of(harness)
    harness.receive(CONTROLLER, private(train()))
    harness.deliver_inputs()
    harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert harness.runs
    assert (core.current_facts().task, core.progress()) == ("", 0)


def test_other_work_is_shown(harness: AgentHarness) -> None:
    """A training without privacy terms, and the model that it has fetched."""
    core = core_of(harness)
    harness.receive(CONTROLLER, train())
    assert core.current_facts().task == f"train {JOB} 1"
    assert core.active_jobs() == {JOB: 1}
    harness.deliver_inputs()
    assert core.current_facts().models.keys() == {"tiny"}
    harness.run_calls()
    assert core.counters.outcomes["train", "done"] == 1
    assert core.counters.jobs[JOB] == (1, {"loss": 0.5})


def test_a_model_of_a_private_training_is_shown_once_it_is_evaluated(harness: AgentHarness) -> None:
    """And one that was shown before stays so."""
    core = core_of(harness)
    harness.receive(CONTROLLER, private(train()))
    harness.deliver_inputs()
    harness.run_calls()
    assert core.current_facts().models == {}
    harness.receive(CONTROLLER, evaluate())
    assert core.current_facts().models.keys() == {"tiny"}
    harness.deliver_inputs()
    harness.run_calls()
    harness.receive(CONTROLLER, private(train(2)))
    assert core.current_facts().models.keys() == {"tiny"}


def test_a_model_that_is_not_cached_any_more_is_not_hidden_any_longer() -> None:
    """Its spec may be fetched again for work that is shown."""
    models, spools = CachedModels(), Spools(1 << 20)
    specs = [spec_of({"note": str(number)}) for number in range(MAX_MODELS + 1)]
    refs = [version(1, spec) for spec in specs]

    def add(number: int) -> None:
        spool = spools.make(len(specs[number]))
        spool.write(0, specs[number])
        models.add(refs[number], refs[number].spec, spool)

    models.use(refs[0], private=True)
    for number in range(MAX_MODELS + 1):
        add(number)
        models.model(refs[number])
    add(0)
    assert models.sizes() == {"tiny": 0}
    assert not models._hidden  # noqa: SLF001 - it must not grow


def test_a_restarted_agent_offers_the_same_update_and_trains_no_second_one(tmp_path: Path) -> None:
    """Killed after the update was written: before it was offered, after it, or at the receipt."""
    task = private(train(), LOCAL_TERMS)
    first = AgentHarness(tmp_path)
    first.receive(CONTROLLER, task)
    first.deliver_inputs()
    (run,) = first.runs
    run.call()  # the update is written, and the process is killed before it is offered
    for restarted in (AgentHarness(tmp_path), AgentHarness(tmp_path)):
        offer = restarted.offered()
        source = restarted.served[offer.update.digest]
        assert bytes(source.read(0, offer.update.size)) == update_of(1)
        restarted.receive(CONTROLLER, task)
        assert (restarted.runs, restarted.fetches) == ([], {})
        assert restarted.sent_to(COLLECTOR, Offer) == offer


def test_an_agent_that_was_killed_before_an_update_was_written_trains_again(tmp_path: Path) -> None:
    """Nothing of the first training has left it."""
    task = private(train(), LOCAL_TERMS)
    first = AgentHarness(tmp_path)
    first.receive(CONTROLLER, task)
    first.deliver_inputs()
    assert first.runs
    restarted = AgentHarness(tmp_path)
    assert restarted.asks == {}
    assert restarted.trained(task).update == blob_ref_of(update_of(1))


def test_memory_for_the_gradients_of_single_examples_is_asked_for(tmp_path: Path) -> None:
    """Before anything is fetched: a model of 64 MiB needs three times 256 MiB beside it."""
    big = replace(version(), weights=BlobRef(digest="0" * 64, size=64 * 2**20))
    harness = AgentHarness(tmp_path, memory_mb=5 * 64 + 3 * 256 - 1)
    harness.receive(CONTROLLER, with_dp_sgd(train(base=big)))
    reason = harness.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert reason == "training needs about 1088 MiB of memory, 1087 are available"
