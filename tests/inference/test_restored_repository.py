"""Repositories that were restored from a backup: numbers of versions and of changes come again."""

import pytest

from fedbus.core.events import Received
from fedbus.wire.documents import ModelAliases
from fedbus.wire.messages import RollBackAlias
from fedbus_inference.settings import InferenceSettings
from tests.inference.harness import Harness, weights

BEFORE, LATER, LATEST = (f"2026-11-29T08:53:2{second}.120Z" for second in (1, 2, 3))


def restore(harness: Harness, version: int) -> None:
    """Announce the first version that a restored repository makes."""
    held = harness.store(weights(version + 60))
    harness.serve(version, at=LATEST, digest=held.digest, size=held.size)


@pytest.mark.parametrize("promoted", ["before", "after"])
def test_the_aliases_of_a_restored_repository_are_followed(promoted: str) -> None:
    """Although it has counted fewer changes; also those that it announced when it started."""
    harness = Harness(settings=InferenceSettings(serve_alias="production"))
    harness.serve(7, at=LATER)
    harness.alias(9, production=7, live=7)
    harness.settle()
    harness.ask(model="sum@live")
    harness.settle()
    named = 5 if promoted == "before" else 6
    if promoted == "before":
        harness.alias(4, production=named, live=named)
        harness.settle()
        assert harness.core.versions == {"sum": 7}  # it may be an announcement that came late
    restore(harness, 6)
    if promoted == "after":
        harness.alias(4, production=named, live=named)
    harness.settle()
    assert harness.core.versions == {"sum": named}
    harness.answers()
    harness.ask(model="sum@live")
    harness.settle()
    assert harness.answer()["version"] == named
    harness.alias(3, production=7)  # late
    harness.settle()
    assert harness.core.versions == {"sum": named}


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("choice", ["5", "paper"])
def test_a_chosen_version_has_the_content_of_the_restored_repository(
    choice: str, *, busy: bool
) -> None:
    """One that is idle is looked up before the next answer, one that answers with the next."""
    harness = Harness()
    harness.serve(7, at=LATER)
    harness.ask([0, 0, 0], model=f"sum@{choice}")
    harness.show(5, paper=5)
    harness.settle()
    assert harness.answer()["outputs"] == [[5]]
    if busy:
        harness.ask([0, 0, 0], model=f"sum@{choice}")
    held = harness.store(weights(65))
    harness.announce(5, at=LATEST, digest=held.digest, size=held.size)
    harness.ask([0, 0, 0], model=f"sum@{choice}")
    assert len(harness.asks) == 1
    harness.show(5, stored=held, paper=5)
    harness.settle()
    harness.answers()
    harness.ask([0, 0, 0], model=f"sum@{choice}")
    harness.settle()
    assert harness.answer()["outputs"] == [[65]]


def test_a_canary_is_told_from_a_lost_one_with_its_number() -> None:
    """One that was stopped does not stop it, nor is it judged by the other's failures."""
    harness = Harness(
        settings=InferenceSettings(
            canary_percent=100, canary_min_requests=1, request_timeout_seconds=1
        )
    )
    harness.serve(1)
    harness.alias(1, canary=2)
    harness.settle()
    harness.ask([13, 0, 0])
    harness.settle()
    (asked,) = harness.asks.values()
    assert isinstance(asked.message, RollBackAlias)
    harness.answers()
    restored = harness.version(2, stored=harness.store(weights(62)))
    harness.handle(Received("", ModelAliases(model="sum", aliases={"canary": restored}, changes=2)))
    harness.settle()
    assert not harness.asks
    harness.ask([0, 0, 0])
    harness.settle()
    assert (harness.answer()["outputs"], harness.loaded[0].batches) == ([[62]], [1, 1])
