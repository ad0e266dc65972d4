"""Requests about tags, aliases and lineage, and the document that says what names stand for."""

from dataclasses import replace

import pytest

from fedbus.core.events import Connected, Ran, Received, RunFailed
from fedbus.errors import StoreError
from fedbus.wire import codec
from fedbus.wire.documents import ModelAliases
from fedbus.wire.messages import (
    AliasMoved,
    ListNameChanges,
    ListRelatives,
    NameChangesListed,
    PromoteVersion,
    RelativesListed,
    RollBackAlias,
    ShowModel,
    TagVersion,
    VersionTagged,
)
from fedbus.wire.refusals import refusal_of_request
from fedbus_repository.handlers import trail
from fedbus_repository.stores.base import Store
from tests.repository.harness import (
    AGENTS,
    MODEL,
    PRIVATE,
    USER,
    Harness,
    begin,
    commit_next,
    commit_private,
    push,
    ref_of,
)

INFERENCE = "inference.1"


def test_each_change_is_answered_and_announced(harness: Harness, store: Store) -> None:
    """One command, one event: foreign clients and inference services read it."""
    first, second = push(store, 0.0), push(store, 1.0)
    [moved] = harness.receive(USER, PromoteVersion(model=MODEL, alias="production", version=1))
    assert moved == AliasMoved(model=MODEL, alias="production", version=ref_of(first))
    [moved] = harness.receive(
        USER, PromoteVersion(model=MODEL, alias="production", version=2, expected=1)
    )
    assert (moved.version, moved.before) == (ref_of(second), 1)
    [tagged] = harness.receive(USER, TagVersion(model=MODEL, version=1, tag="paper"))
    assert tagged == VersionTagged(model=MODEL, tag="paper", version=1, tags={"paper": 1})
    [back] = harness.receive(
        INFERENCE, RollBackAlias(model=MODEL, alias="production", expected=2, note="errors")
    )
    assert (back.version, back.before) == (ref_of(first), None)
    [untagged] = harness.receive(USER, TagVersion(model=MODEL, version=None, tag="paper"))
    assert (untagged.version, untagged.tags) == (None, {})
    named = [
        (each.changes, {name: ref.version for name, ref in each.aliases.items()}, each.tags)
        for each in harness.aliases
    ]
    assert named == [
        (1, {"production": 1}, {}),
        (2, {"production": 2}, {}),
        (3, {"production": 2}, {"paper": 1}),
        (4, {"production": 1}, {"paper": 1}),
        (5, {"production": 1}, {}),
    ]
    notes = [each.facts for each in harness.notes if each.event == "version_named"]
    assert [(each["name"], each["change"], each["by"]) for each in notes] == [
        ("production", "promotion", USER),
        ("production", "promotion", USER),
        ("paper", "tag", USER),
        ("production", "roll-back", INFERENCE),
        ("paper", "untag", USER),
    ]


def test_an_automatic_roll_back_removes_an_alias_with_nothing_before(
    harness: Harness, store: Store
) -> None:
    """So a bad canary is not asked again, after a restart of inference either."""
    push(store)
    harness.receive(USER, PromoteVersion(model=MODEL, alias="canary", version=1))
    request = RollBackAlias(model=MODEL, alias="canary", expected=1, note="e", or_remove=True)
    removed = AliasMoved(model=MODEL, alias="canary", version=None)
    assert [harness.receive(INFERENCE, request) for _ in range(2)] == [[removed], [removed]]
    assert [each.aliases for each in harness.aliases[1:]] == [{}, {}]
    [changes] = harness.receive(USER, ListNameChanges(model=MODEL, name="canary"))
    last = changes.changes[0]
    assert (last.kind, last.version, last.by, last.note) == ("roll-back", None, INFERENCE, "e")


def test_a_repeated_request_is_answered_again_and_logged_once(
    harness: Harness, store: Store
) -> None:
    """Its answer was lost."""
    push(store)
    request = PromoteVersion(model=MODEL, alias="production", version=1, expected=0)
    answers = [harness.receive(USER, request) for _ in range(2)]
    assert answers[0] == answers[1]
    assert [each.changes for each in harness.aliases] == [1, 1]
    assert [each.event for each in harness.notes].count("version_named") == 1


def test_names_are_announced_on_every_connect_and_never_go_back(
    harness: Harness, store: Store
) -> None:
    """A restarted broker has forgotten them, and threads overtake each other."""
    push(store)
    harness.receive(USER, TagVersion(model=MODEL, version=1, tag="a"))
    harness.aliases.clear()
    harness.handle(Connected())
    run = harness.runs.popleft()
    before = run.call()
    harness.receive(USER, TagVersion(model=MODEL, version=1, tag="b"))
    harness.handle(Ran(run.key, before))
    assert [each.tags for each in harness.aliases] == [{"a": 1, "b": 1}]
    harness.connect()
    assert harness.aliases[-1] == ModelAliases(
        model=MODEL, aliases={}, tags={"a": 1, "b": 1}, changes=2
    )


def test_a_model_is_shown_with_its_names(harness: Harness, store: Store) -> None:
    """And a version by its name, for an inference service too."""
    push(store, 0.0)
    push(store, 1.0)
    harness.receive(USER, PromoteVersion(model=MODEL, alias="production", version=1))
    harness.receive(USER, TagVersion(model=MODEL, version=2, tag="paper"))
    [shown] = harness.receive(INFERENCE, ShowModel(model=MODEL, name="production"))
    assert (shown.version.version, shown.aliases, shown.tags) == (
        1,
        {"production": 1},
        {"paper": 2},
    )
    [refused] = harness.receive(USER, ShowModel(model=MODEL, name="prod"))
    assert "aliases: production; tags: paper" in refused.reason


def test_refusals_are_sent_and_logged(harness: Harness, store: Store) -> None:
    """To the node that asked."""
    push(store)
    request = RollBackAlias(model=MODEL, alias="canary", expected=1)
    [refused] = harness.receive(INFERENCE, request)
    assert refused == refusal_of_request(request, MODEL, refused.reason, "unknown")
    assert "no alias 'canary'" in refused.reason
    assert harness.notes[-1].event == "request_refused"
    assert harness.aliases == []
    harness.handle(Received(USER, ListNameChanges(model=MODEL)))
    harness.handle(RunFailed(harness.runs.popleft().key, StoreError("input/output error")))
    assert harness.sent[-1][1] == refusal_of_request(
        ListNameChanges(model=MODEL), MODEL, "input/output error", "other"
    )


def test_history_and_lineage_come_in_pages(
    harness: Harness, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as fit a message; the rest can be asked for."""
    begin(store)
    for value in range(1, 5):
        commit_next(store, float(value))
    for number in (3, 1, 3, 4, 5):
        harness.receive(USER, PromoteVersion(model=MODEL, alias="production", version=number))
    changes, descendants = (
        ListNameChanges(model=MODEL, name="production", limit=4),
        ListRelatives(model=MODEL, version=1, relation="descendants", limit=4),
    )
    [listed] = harness.receive(USER, changes)
    assert isinstance(listed, NameChangesListed)
    assert ([each.version for each in listed.changes], listed.more) == ([5, 4, 3, 1], True)
    [found] = harness.receive(USER, descendants)
    assert isinstance(found, RelativesListed)
    assert ([each.version for each in found.versions], found.more) == ([2, 3, 4, 5], False)
    [ancestors] = harness.receive(USER, replace(descendants, version=None, relation="ancestors"))
    assert (ancestors.version, [each.version for each in ancestors.versions]) == (5, [4, 3, 2, 1])
    for whole, request in ((listed, changes), (found, descendants)):
        monkeypatch.setattr(trail, "MAX_SHOWN_BYTES", len(codec.pack(whole)) - 1)
        [cut] = harness.receive(USER, request)
        assert cut.more
        assert len(cut.changes if isinstance(cut, NameChangesListed) else cut.versions) == 2


def test_no_agent_of_a_private_round_is_in_a_lineage(harness: Harness, store: Store) -> None:
    """Nor is the number of them."""
    begin(store, strategy=PRIVATE)
    commit_private(store, 1.0)
    request = ListRelatives(model=MODEL, version=1, relation="descendants")
    [found] = harness.receive(USER, request)
    assert (found.versions[0].contributors, found.versions[0].metrics) == (0, {})
    assert not [agent for agent in AGENTS if agent.encode() in codec.pack(found)]
