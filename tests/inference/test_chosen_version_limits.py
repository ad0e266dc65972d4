"""Chosen versions at their limits: closed, too large or too many, and answers that come late."""

from dataclasses import replace

import pytest

from fedbus.core.actions import Ask
from fedbus.core.events import Ran, Received, RunFailed, Woke
from fedbus.wire.documents import ModelAliases
from fedbus_inference.chosen_versions import MAX_REFUSED, TAG_SECONDS
from fedbus_inference.keys import RequestDeadline, SpecReading
from fedbus_inference.settings import InferenceSettings
from fedbus_inference.version_lookup import VersionLookup
from tests.inference.harness import Harness, spec, weights


def versions(harness: Harness) -> list[int]:
    """Return the versions that answered."""
    return [answer["version"] for answer in harness.answers()]


def test_a_lookup_of_a_closed_version_changes_nothing() -> None:
    """A tag is looked up again after its answer; meanwhile another version needs its place."""
    harness = Harness(settings=InferenceSettings(max_chosen_versions=1))
    harness.serve(9)
    harness.ask(model="sum@paper")
    harness.show(2, paper=2)
    harness.settle()
    harness.now += TAG_SECONDS
    harness.ask(model="sum@paper")
    harness.settle()
    harness.ask(model="sum@1")
    harness.show(3, paper=3)
    harness.handle(Woke(RequestDeadline("sum", "paper")))
    harness.show(1)
    harness.settle()
    assert versions(harness) == [2, 2, 1]


def test_refusals_are_kept_up_to_a_limit() -> None:
    """One that is not kept is asked for again; a client's names do not fill the memory."""
    harness = Harness()
    harness.serve(9)
    for number in range(100, 101 + MAX_REFUSED):
        harness.ask(model=f"sum@{number}")
        harness.refuse("no such")
    assert {answer["kind"] for answer in harness.answers()} == {"not_found"}
    harness.asks.clear()
    harness.ask(model="sum@100")
    assert not harness.asks
    harness.ask(model=f"sum@{100 + MAX_REFUSED}")
    assert len(harness.asks) == 1


def test_versions_that_are_loaded_leave_no_room_for_another() -> None:
    """By bytes, while the first is still being loaded; a moment later there is."""
    one_and_a_half = 1.5 * len(weights(1)) / 2**20
    settings = InferenceSettings().model_copy(update={"max_chosen_mb": one_and_a_half})
    harness = Harness(settings=settings)
    harness.serve(9)
    harness.ask(model="sum@1")
    harness.show(1)
    harness.ask(model="sum@2")
    harness.show(2)
    refused = harness.answer()
    assert (refused["kind"], "memory" in refused["error"]) == ("overloaded", True)
    harness.settle()
    harness.ask(model="sum@2")
    harness.show(2)
    harness.settle()
    assert versions(harness) == [1, 2]


def test_an_alias_that_moves_to_what_is_too_large_keeps_answering_with_the_version_before() -> None:
    """And the model's status has the versions that its aliases name, without any newest one."""
    harness = Harness()
    harness.alias(1, production=1)
    harness.ask(model="sum@production")
    harness.settle()
    large = harness.version(2)
    large = replace(large, weights=replace(large.weights, size=2**40))
    moved = ModelAliases(model="sum", aliases={"production": large}, changes=2)
    harness.handle(Received("", moved))
    harness.ask(model="sum@production")
    harness.settle()
    assert versions(harness) == [1, 1]
    status = harness.core.status("sum")
    assert status is not None
    assert [each.version for each in status.versions] == [1]
    assert status.aliases == {"production": 2}


@pytest.mark.parametrize("late", ["loaded", "failed", "spec"])
def test_what_was_begun_for_a_closed_slot_is_not_taken_for_its_successor(late: str) -> None:
    """The slot of an alias is closed while a thread loads for it, and opened for another version.

    The late version answered for good, recorded as the one that the alias names.
    """
    harness = Harness()
    harness.serve(9)
    harness.alias(1, live=3)
    harness.ask(model="sum@live")
    harness.fetch()
    if late != "spec":
        harness.run(SpecReading)
        harness.fetch()
    begun = harness.runs.popleft()
    large = harness.version(4)
    large = replace(large, weights=replace(large.weights, size=2**40))
    harness.handle(Received("", ModelAliases(model="sum", aliases={"live": large}, changes=2)))
    assert harness.answer()["kind"] == "not_found"
    harness.alias(3, harness.store(spec(architectures={"sums": {"depth": 5}})), live=5)
    harness.ask(model="sum@live")
    event = (
        RunFailed(begun.key, MemoryError()) if late == "failed" else Ran(begun.key, begun.call())
    )
    harness.handle(event)
    harness.settle()
    harness.ask(model="sum@live")
    harness.settle()
    assert versions(harness) == [5, 5]
    assert harness.loaded[-1].architecture == {"depth": 5}
    assert not harness.noted("model_not_loaded")


def test_a_choice_is_looked_up_once_at_a_time() -> None:
    """However often it is asked for; a timer that fires late ends nothing."""
    lookup = VersionLookup("sum")
    assert list(lookup.timed_out(0.0)) == []
    assert any(isinstance(each, Ask) for each in lookup.start("3", "repository.1", 0.0))
    assert list(lookup.start("paper", "repository.1", 0.0)) == []
    for again in ("3", "paper"):
        assert list(lookup.start(again, "repository.1", 0.0)) == []
    found = [each for each in lookup.timed_out(5.0) if isinstance(each, Ask)]
    assert len(found) == 1
    assert not [each for each in lookup.timed_out(10.0) if isinstance(each, Ask)]
