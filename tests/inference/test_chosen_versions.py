"""Requests choose versions: by number, by alias, by tag; a bounded number of them is loaded."""

import pytest

from fedbus.core.events import Received
from fedbus.errors import StoreFault
from fedbus.wire.documents import ModelAliases
from fedbus.wire.messages import ShowModel
from fedbus.wire.refusals import refusal_of_request
from fedbus_inference.keys import LookupTimeout, Prediction, VersionQuestion
from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.open_inference.model_metadata import chosen_version
from fedbus_inference.prediction_queue import PredictionQueue
from fedbus_inference.settings import InferenceSettings
from fedbus_inference.version_lookup import LOOKUP_SECONDS, MAX_LOOKUPS
from tests.inference.harness import Harness


def asked(harness: Harness) -> ShowModel:
    """Return the question that the repository is asked."""
    message = harness.asks[VersionQuestion("sum")].message
    assert isinstance(message, ShowModel)
    return message


def versions(harness: Harness) -> list[int | str]:
    """Return and clear the versions that answered, or the errors."""
    return [answer.get("version", answer.get("error", "")) for answer in harness.answers()]


# ── by number ─────────────────────────────────────────────────────────────────────────────────────


def test_a_chosen_version_is_asked_for_loaded_and_answers() -> None:
    """The first request waits for it, the next one does not; the newest answers as before."""
    harness = Harness()
    harness.serve(5)
    harness.ask(model="sum@3")
    assert harness.asks[VersionQuestion("sum")].to == "repository.1"
    assert (asked(harness).model, asked(harness).version) == ("sum", 3)
    harness.show(3)
    assert not harness.asks
    harness.settle()
    assert harness.answer() == {"model": "sum", "version": 3, "outputs": [[9]]}
    harness.ask(model="sum@3")
    harness.ask()
    harness.settle()
    assert sorted(versions(harness)) == [3, 5]
    assert harness.core.versions == {"sum": 5}


def test_the_newest_version_needs_no_second_copy() -> None:
    """Its number is known here."""
    harness = Harness()
    harness.serve(5)
    harness.ask(model="sum@5")
    harness.ask(model="sum@latest")
    harness.settle()
    assert versions(harness) == [5, 5]
    assert not harness.asks
    assert len(harness.loaded) == 1


def test_a_request_for_the_newest_by_number_is_never_answered_by_its_successor() -> None:
    """If that takes over while it waits, the chosen version gets a slot of its own."""
    harness = Harness()
    harness.serve(5)
    harness.ask()
    harness.ask(model="sum@5")
    harness.ask()
    harness.announce(6)
    while harness.fetch():
        pass
    while harness.runs and any(not isinstance(run.key, Prediction) for run in harness.runs):
        kinds = [type(run.key) for run in harness.runs if not isinstance(run.key, Prediction)]
        harness.run(kinds[0])
        while harness.fetch():
            pass
    assert harness.core.versions == {"sum": 6}
    assert asked(harness).version == 5
    harness.show(5)
    harness.settle()
    assert sorted(map(str, versions(harness))) == ["5", "5", "6"]


def test_what_the_repository_does_not_have_is_not_found() -> None:
    """With its reason and the aliases that exist; it is not asked again for a moment."""
    harness = Harness()
    harness.serve(5)
    harness.alias(production=5)
    harness.ask(model="sum@9")
    harness.refuse("model sum has versions 1 to 5")
    error = "sum@9: model sum has versions 1 to 5 (aliases: production)"
    assert harness.answer()["error"] == error
    harness.ask(model="sum@9")
    assert harness.answer()["error"] == error
    assert not harness.asks
    harness.now += 6
    harness.ask(model="sum@9")
    assert asked(harness).version == 9
    assert harness.core.stats.refusals[RefusalKind.NOT_FOUND] == 2


def test_a_version_whose_weights_are_gone_is_not_found() -> None:
    """The repository still knows it."""
    harness = Harness()
    harness.serve(5)
    harness.ask(model="sum@2")
    harness.show(2, kept=False)
    assert harness.answer()["error"] == (
        "sum@2: the repository no longer has its weights (aliases: none)"
    )


def test_a_silent_repository_is_said_and_asked_again() -> None:
    """The next request asks again: it may be back."""
    harness = Harness()
    harness.serve(5)
    harness.ask(model="sum@2")
    harness.wait(LOOKUP_SECONDS)
    assert "the repository did not say in 5 s" in harness.answer()["error"]
    assert harness.core.stats.refusals[RefusalKind.LOADING] == 1
    harness.ask(model="sum@2")
    assert asked(harness).version == 2


@pytest.mark.parametrize("kind", ["full", "unreachable", "unusable", "damaged", "other"])
def test_a_fault_of_the_store_is_no_missing_version(kind: StoreFault) -> None:
    """The request may be repeated, and asks the repository again."""
    harness = Harness()
    harness.serve(5)
    harness.ask(model="sum@3")
    harness.refuse("the database does not answer", kind)
    assert "sum@3: the database does not answer" in harness.answer()["error"]
    assert harness.core.stats.refusals[RefusalKind.LOADING] == 1
    harness.ask(model="sum@3")
    assert asked(harness).version == 3
    harness.refuse("model sum has versions 4 and 5", "unknown")
    assert harness.core.stats.refusals[RefusalKind.NOT_FOUND] == 1
    harness.ask(model="sum@3")
    assert not harness.asks


def test_versions_are_looked_up_one_after_the_other() -> None:
    """What is not an answer to the current question, or not its refusal, is ignored."""
    harness = Harness()
    harness.serve(5)
    harness.ask(model="sum@2")
    harness.ask(model="sum@2")
    harness.ask(model="sum@3")
    assert asked(harness).version == 2
    harness.show(3)  # not an answer to this question
    harness.handle(
        Received(
            "repository.1", refusal_of_request(ShowModel(model="sum", version=3), "sum", "early")
        )
    )
    assert asked(harness).version == 2
    harness.show(2)
    assert asked(harness).version == 3
    harness.show(3)
    harness.show(3)
    late = refusal_of_request(ShowModel(model="sum", version=3, before=1), "sum", "late")
    harness.handle(Received("repository.1", late))
    harness.settle()
    assert sorted(map(str, versions(harness))) == ["2", "2", "3"]
    assert LookupTimeout("sum") not in harness.timers


@pytest.mark.parametrize(
    "word", ["sum@", "sum@0", "sum@-1", "sum@a b", "sum@1@2", "sum@" + "9" * 40]
)
def test_what_is_no_version_is_refused_at_once(word: str) -> None:
    """A repository is not asked for it."""
    harness = Harness()
    harness.serve(5)
    harness.ask(model=word)
    assert "error" in harness.answer()
    assert not harness.asks


# ── by alias and tag ──────────────────────────────────────────────────────────────────────────────


def test_an_alias_answers_and_is_followed_in_both_directions() -> None:
    """A promotion and a roll-back swap without a refused request."""
    harness = Harness()
    harness.serve(5)
    harness.alias(production=3)
    harness.ask(model="sum@production")
    harness.settle()
    assert versions(harness) == [3]
    assert not harness.asks
    for change, version in enumerate((4, 3), start=2):
        harness.alias(change, production=version)
        harness.settle()
        harness.ask(model="sum@production")
        harness.settle()
        assert versions(harness) == [version]


def test_the_status_knows_the_newest_version_by_its_word() -> None:
    """`digits@latest/ready` of HTTP and gRPC says what a request to `digits@latest` gets."""
    harness = Harness()
    harness.serve(3)
    status = harness.core.status("sum")
    assert status is not None
    assert chosen_version(status, "latest") is chosen_version(status, "3")
    assert chosen_version(status, "latest") is not None


def test_an_older_document_of_aliases_changes_nothing() -> None:
    """It may arrive late."""
    harness = Harness()
    harness.serve(5)
    harness.alias(2, production=4)
    harness.alias(1, production=3)
    harness.ask(model="sum@production")
    harness.settle()
    assert versions(harness) == [4]


def test_the_default_version_may_follow_an_alias() -> None:
    """Newer versions then wait for their promotion; the newest is at hand as `latest`."""
    harness = Harness(settings=InferenceSettings(serve_alias="production"))
    harness.announce(5)
    harness.ask()
    assert (
        "the model has no alias 'production': `fedbus models promote" in harness.answer()["error"]
    )
    harness.alias(production=3)
    harness.settle()
    harness.ask()
    harness.ask(model="sum@production")
    harness.ask(model="sum@latest")
    harness.settle()
    assert sorted(map(str, versions(harness))) == ["3", "3", "5"]
    harness.alias(2, production=2)
    harness.settle()
    assert harness.core.versions == {"sum": 2}


def test_a_tag_is_looked_up_and_again_after_a_while() -> None:
    """It may be moved to another version."""
    harness = Harness()
    harness.serve(5)
    harness.ask(model="sum@paper")
    assert (asked(harness).version, asked(harness).name) == (None, "paper")
    harness.show(2, paper=2)
    harness.settle()
    assert versions(harness) == [2]
    harness.now += 31
    harness.ask(model="sum@paper")
    harness.show(4, paper=4)
    harness.settle()
    harness.ask(model="sum@paper")
    harness.settle()
    assert versions(harness) == [2, 4]


def test_a_lookup_that_fails_later_leaves_the_tag_as_it_is() -> None:
    """What is loaded keeps answering."""
    harness = Harness()
    harness.serve(5)
    harness.ask(model="sum@paper")
    harness.show(2, paper=2)
    harness.settle()
    harness.now += 31
    harness.ask(model="sum@paper")
    harness.wait(LOOKUP_SECONDS)
    harness.settle()
    assert versions(harness) == [2, 2]


def test_aliases_without_any_version_say_so() -> None:
    """Nothing has been announced that could be asked for one."""
    harness = Harness()
    harness.handle(Received("", ModelAliases(model="sum", aliases={}, changes=0)))
    harness.ask(model="sum@3")
    assert "no repository has announced a version" in harness.answer()["error"]


# ── how many ──────────────────────────────────────────────────────────────────────────────────────


def test_the_least_recently_used_version_makes_room() -> None:
    """Two fit; the third closes the one that was asked longest ago."""
    harness = Harness(settings=InferenceSettings(max_chosen_versions=2))
    harness.serve(9)
    for version in (1, 2):
        harness.ask(model=f"sum@{version}")
        harness.show(version)
        harness.settle()
    harness.ask(model="sum@1")
    harness.settle()
    harness.ask(model="sum@3")
    harness.show(3)
    harness.settle()
    status = harness.core.status("sum")
    assert status is not None
    assert [each.version for each in status.versions] == [1, 3, 9]
    assert sorted(map(str, versions(harness))) == ["1", "1", "2", "3"]


def test_busy_versions_are_not_closed() -> None:
    """A request that waits keeps its version."""
    harness = Harness(settings=InferenceSettings(max_chosen_versions=1))
    harness.serve(9)
    harness.ask(model="sum@1")
    harness.ask(model="sum@2")
    assert harness.answer()["error"] == "sum@2: 1 chosen versions are busy; ask again in a moment"
    harness.show(1)
    harness.settle()
    assert versions(harness) == [1]


def test_a_version_that_is_too_large_is_refused_with_the_setting() -> None:
    """Before any byte of it is fetched."""
    settings = InferenceSettings()
    harness = Harness(settings=settings.model_copy(update={"max_chosen_mb": 0}))
    harness.serve(9)
    fetched = len(harness.fetched)
    harness.ask(model="sum@1")
    harness.show(1)
    assert "FEDBUS_MAX_CHOSEN_MB" in harness.answer()["error"]
    harness.settle()
    assert len(harness.fetched) == fetched


def test_more_lookups_than_the_limit_are_refused() -> None:
    """A client that counts versions up does not fill the memory."""
    harness = Harness(settings=InferenceSettings(max_chosen_versions=1000))
    harness.serve(9)
    for version in range(100, 102 + MAX_LOOKUPS):
        harness.ask(model=f"sum@{version}")
    assert "are busy" in harness.answer()["error"]


def test_a_queue_gives_back_what_another_version_must_answer() -> None:
    """And knows the bytes that stay."""
    queue = PredictionQueue(10)
    assert queue.take_other_versions(1) == []
    assert queue.oldest is None
