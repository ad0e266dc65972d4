"""Versions that hang: a prediction that never ends delays no other version, and no refusal."""

import pytest

from fedbus.core.actions import Run
from fedbus.core.events import Ran, RunFailed
from fedbus.wire.messages import RollBackAlias
from fedbus_inference.hung_predictions import MAX_HUNG
from fedbus_inference.keys import ModelKey, Prediction, SpecReading, VersionLoading
from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.settings import InferenceSettings
from tests.inference.harness import Harness

QUICK = InferenceSettings(request_timeout_seconds=1)


def hang(harness: Harness, slot: str = "", *, begun: bool = True) -> Run:
    """Take the running prediction of a slot out of the harness, so that it does not end.

    Unless it has begun, it waits for a thread.
    """
    (run,) = [each for each in harness.runs if each.key == Prediction("sum", slot, _number(each))]
    harness.runs.remove(run)
    if begun:
        run.call()
    return run


def _number(run: Run) -> int:
    return run.key.number if isinstance(run.key, Prediction) else 0


def test_a_request_whose_prediction_hangs_is_refused_at_its_deadline() -> None:
    """Also the one that is being computed; its answer is dropped if it comes after all."""
    harness = Harness(settings=QUICK)
    harness.serve(1)
    harness.ask()
    harness.predict(timeout=0.5, payload=b'{"inputs": [1, 2, 3]}')
    run = hang(harness)
    late = run.call()
    harness.wait(0.6)
    assert [outcome.refusal for outcome in harness.outcomes] == ["deadline"]
    harness.wait(0.5)
    assert harness.answer()["kind"] == "deadline"
    harness.handle(Ran(run.key, late))
    assert harness.answers() == []
    assert harness.core.counts.get("requests_answered", 0) == 0
    harness.ask()
    harness.settle()
    assert harness.answer()["version"] == 1


@pytest.mark.parametrize("patient", [True, False])
def test_what_was_refused_before_a_thread_was_free_is_not_computed(*, patient: bool) -> None:
    """All threads may be busy with other models, and no client waits for the answer any more."""
    harness = Harness(settings=InferenceSettings(max_batch_rows=8))
    harness.serve(1)
    harness.ask()
    harness.predict(timeout=0.5, payload=b'{"inputs": [1, 2, 3]}')
    harness.predict(timeout=30 if patient else 0.5, payload=b'{"inputs": [1, 2, 3]}')
    harness.run()
    harness.answers()
    harness.loaded[0].batches.clear()
    harness.wait(0.6)
    harness.settle()
    last = None if patient else RefusalKind.DEADLINE
    assert [each.refusal for each in harness.outcomes] == [RefusalKind.DEADLINE, last]
    assert harness.loaded[0].batches == ([1] if patient else [])
    harness.ask()
    harness.settle()
    assert harness.answer()["version"] == 1


def test_another_version_replaces_one_that_hangs() -> None:
    """A new version, or the one of a roll-back; the late answer changes nothing."""
    harness = Harness(settings=QUICK)
    harness.serve(1)
    harness.ask()
    run = hang(harness)
    harness.announce(2)
    harness.settle()
    harness.ask()
    assert not [each for each in harness.runs if isinstance(each.key, Prediction)]  # 1 may answer
    harness.wait(1.1)
    assert {answer["kind"] for answer in harness.answers()} == {"deadline"}
    (given_up,) = harness.noted("prediction_given_up")
    assert given_up == {"model": "sum", "version": 1, "hung": 1}
    assert len(harness.core.stats.hung) == 1
    harness.ask()
    (next_run,) = [each for each in harness.runs if isinstance(each.key, Prediction)]
    assert next_run.apart  # the thread of the other is lost
    harness.settle()
    assert harness.answer()["version"] == 2
    harness.handle(Ran(run.key, run.call()))
    assert harness.answers() == []
    assert len(harness.core.stats.hung) == 0
    harness.serve(3)
    assert harness.reloaded == 0  # 1 belongs to its thread
    harness.serve(4)
    assert harness.reloaded == 1


def test_threads_of_predictions_that_hang_are_bounded() -> None:
    """At the bound the service states that it must be restarted; one that ends makes room."""
    harness = Harness(settings=QUICK)
    hung = []
    for version in range(1, MAX_HUNG + 2):
        harness.serve(version)
        harness.ask()
        hung.append(hang(harness))
        harness.wait(1.1)
    assert len(harness.core.stats.hung) == MAX_HUNG
    harness.serve(MAX_HUNG + 2)
    for _ in range(2):
        harness.answers()
        harness.ask()
        harness.wait(1.1)
        assert "16 predictions hang in this process; restart" in str(harness.answer()["error"])
    (kept,) = harness.noted("prediction_not_given_up")
    assert (kept["model"], kept["version"]) == ("sum", MAX_HUNG + 1)
    harness.handle(RunFailed(hung[0].key, MemoryError("no memory")))
    harness.ask()
    harness.wait(1.1)
    harness.answers()
    harness.ask()
    harness.settle()
    assert harness.answer()["version"] == MAX_HUNG + 2


def test_a_version_that_is_loaded_after_the_deadline_answers_at_once() -> None:
    """Its predecessor is given up when it is loaded."""
    harness = Harness(settings=QUICK)
    harness.serve(1)
    harness.ask()
    hang(harness)
    harness.wait(1.1)
    harness.serve(2)
    harness.answers()
    harness.ask()
    harness.settle()
    assert harness.answer()["version"] == 2


@pytest.mark.parametrize("most", [256, 3])
def test_a_canary_that_hangs_is_rolled_back(most: int) -> None:
    """Requests without an answer in time, and those that find a full queue, are failures."""
    harness = Harness(
        settings=InferenceSettings(
            canary_percent=100,
            canary_min_requests=10,
            request_timeout_seconds=1,
            max_queued_requests=most,
        )
    )
    harness.serve(1)
    harness.alias(1, canary=2)
    harness.settle()
    harness.ask()
    run = hang(harness, "+canary")
    assert run.apart
    assert not run.brief
    for _ in range(12):
        harness.ask()
    harness.wait(1.1)
    harness.answers()
    (asked,) = harness.asks.values()
    assert isinstance(asked.message, RollBackAlias)
    harness.ask()
    harness.settle()
    assert harness.answer()["version"] == 1


def test_a_late_answer_of_a_slot_that_was_closed_is_not_taken_for_one_of_its_successor() -> None:
    """The canary is removed while a batch of it hangs, and another version is tried."""
    harness = Harness(settings=InferenceSettings(canary_percent=100, request_timeout_seconds=1))
    harness.serve(1)
    harness.alias(1, canary=2)
    harness.settle()
    harness.ask()
    late = hang(harness, "+canary")
    harness.wait(1.1)
    harness.alias(2, canary=3)
    harness.settle()
    harness.alias(3)
    harness.alias(4, canary=4)
    harness.settle()
    harness.answers()
    harness.ask([1, 2, 4])
    assert len(harness.core.stats.hung) == 1
    harness.handle(Ran(late.key, late.call()))
    assert len(harness.core.stats.hung) == 0
    assert harness.answers() == []
    harness.settle()
    assert harness.answer()["version"] == 4


def test_trials_have_threads_of_their_own() -> None:
    """A canary and a shadow that hang leave those of the stable version free, however slow."""
    harness = Harness(settings=InferenceSettings(canary_percent=50, shadow=True))
    harness.serve(1)
    harness.alias(1, canary=2, shadow=3)
    harness.settle()
    apart: dict[str, bool] = {}
    for _ in range(40):
        harness.ask()
        while harness.runs:
            for run in harness.runs:
                if isinstance(run.key, ModelKey):
                    apart[run.key.slot] = run.apart
            harness.run()
    assert apart == {"": False, "+canary": True, "+shadow": True}


def test_a_chosen_version_that_hangs_makes_room_for_another() -> None:
    """Once no client waits for it; its late end is counted, and its number can be chosen again."""
    harness = Harness(settings=InferenceSettings(max_chosen_versions=1, request_timeout_seconds=1))
    harness.serve(9)
    harness.ask(model="sum@3")
    harness.show(3)
    while harness.fetch() or harness.run(SpecReading) or harness.run(VersionLoading):
        pass
    late = hang(harness, "3")
    result = late.call()
    harness.ask(model="sum@4")
    assert harness.answer()["kind"] == "overloaded"  # a client waits for version 3
    harness.wait(1.1)
    assert harness.answer()["kind"] == "deadline"
    harness.ask(model="sum@4")
    assert harness.noted("prediction_given_up") == [{"model": "sum", "version": 3, "hung": 1}]
    harness.show(4)
    while harness.fetch() or harness.run(SpecReading) or harness.run(VersionLoading):
        pass
    assert [run.apart for run in harness.runs] == [True]  # those that hang may have all others
    harness.settle()
    assert harness.answer()["version"] == 4
    harness.ask(model="sum@3")
    harness.show(3)
    harness.handle(Ran(late.key, result))
    assert len(harness.core.stats.hung) == 0
    harness.settle()
    assert harness.answer()["version"] == 3


def test_chosen_versions_that_hang_are_bounded() -> None:
    """At the bound none is closed, and the refusal says what to do."""
    harness = Harness(settings=InferenceSettings(max_chosen_versions=1, request_timeout_seconds=1))
    harness.serve(99)
    for version in range(1, MAX_HUNG + 2):
        harness.ask(model=f"sum@{version}")
        harness.show(version)
        while harness.fetch() or harness.run(SpecReading) or harness.run(VersionLoading):
            pass
        hang(harness, str(version))
        harness.wait(1.1)
    harness.answers()
    harness.ask(model="sum@50")
    refused = harness.answer()
    assert refused["kind"] == "overloaded"
    assert "16 predictions hang in this process; restart" in refused["error"]
    assert len(harness.core.stats.hung) == MAX_HUNG


def test_a_canary_that_hangs_is_closed_when_its_alias_is_removed() -> None:
    """Its memory is free but for what the thread uses; promoted again, the version is loaded."""
    harness = Harness(settings=InferenceSettings(canary_percent=100, request_timeout_seconds=1))
    harness.serve(1)
    harness.alias(1, canary=2)
    harness.settle()
    harness.ask()
    hang(harness, "+canary")
    harness.alias(2)
    assert not harness.noted("prediction_given_up")  # a client waits for it
    harness.wait(1.1)
    assert harness.answer()["kind"] == "deadline"
    assert harness.noted("prediction_given_up") == [{"model": "sum", "version": 2, "hung": 1}]
    harness.alias(3, canary=2)
    harness.settle()
    harness.ask()
    harness.settle()
    assert harness.answer()["version"] == 2


@pytest.mark.parametrize("begun", [True, False])
def test_only_a_batch_that_a_thread_computes_counts_as_hung(*, begun: bool) -> None:
    """One that waits for a thread has none; at the bound it is dropped all the same."""
    harness = Harness(settings=QUICK)
    for number in range(MAX_HUNG - begun):
        list(harness.core.stats.hung.give_up(-1 - number, "other", 1))
    harness.serve(1)
    harness.ask()
    run = hang(harness, begun=begun)
    harness.wait(1.1)
    harness.answers()
    harness.serve(2)
    assert len(harness.core.stats.hung) == MAX_HUNG
    assert len(harness.noted("prediction_given_up")) == begun
    harness.ask()
    harness.settle()
    assert harness.answer()["version"] == 2
    harness.handle(Ran(run.key, run.call()))
    assert len(harness.core.stats.hung) == MAX_HUNG - begun
