"""Announcements, lists and views of models."""

from dataclasses import replace

import pytest

from fedbus.core.events import Connected, Ran, Received, RunFailed, Woke
from fedbus.errors import StoreError
from fedbus.wire import codec
from fedbus.wire.messages import (
    ListModels,
    ModelShown,
    ModelsListed,
    ShowModel,
    ShowPrivacy,
)
from fedbus.wire.refusals import refusal_of_request
from fedbus_repository.handlers import catalog
from fedbus_repository.stores.base import Store
from tests.repository.harness import (
    AGENTS,
    AT,
    FEDAVGM,
    JOB,
    MODEL,
    PRIVATE,
    REPOSITORY,
    TERMS,
    USER,
    Harness,
    begin,
    commit_next,
    commit_private,
    commit_state,
    push,
    ref_of,
    spent_with,
)


def test_the_latest_of_every_model_is_announced_on_every_connect(
    harness: Harness, store: Store
) -> None:
    """A restarted broker has forgotten what it retained."""
    faces, digits = push(store, 0.0, "faces"), push(store, 1.0)
    for _ in range(2):
        harness.latest.clear()
        harness.connect()
        announced = [(each.model, each.version, each.source) for each in harness.latest]
        assert announced == [
            (MODEL, digits.version, REPOSITORY),
            ("faces", faces.version, REPOSITORY),
        ]


def test_the_latest_is_announced_again_every_minute(harness: Harness, store: Store) -> None:
    """An announcement may be lost, and a replica would answer with an old version forever."""
    push(store)
    harness.connect()
    for minute in (1, 2):
        harness.latest.clear()
        (key, at) = harness.timers.popitem()
        assert at == harness.now + 60.0, minute
        harness.now = at
        harness.handle(Woke(key))
        harness.run_all()
        assert [each.model for each in harness.latest] == [MODEL]


def test_an_announcement_never_goes_back(harness: Harness, store: Store) -> None:
    """Threads overtake each other; what is retained must be the latest."""
    push(store, 0.0)
    harness.handle(Connected())
    run = harness.runs.popleft()
    before = run.call()
    push(store, 1.0)
    harness.handle(Ran(run.key, before))
    harness.connect()
    harness.handle(Connected())
    run = harness.runs.popleft()
    harness.handle(Ran(run.key, before))
    assert [each.version for each in harness.latest] == [1, 2]


def test_models_are_listed(harness: Harness, store: Store) -> None:
    """None is an answer too."""
    assert harness.receive(USER, ListModels()) == [ModelsListed(models=())]
    version = push(store)
    assert harness.receive(USER, ListModels()) == [
        ModelsListed(models=(ref_of(version),), made={MODEL: AT})
    ]


def test_a_version_is_shown_with_its_trail(harness: Harness, store: Store) -> None:
    """Where it came from, and what of it is still here."""
    begin(store)
    done = commit_next(store, 1.0)
    [shown] = harness.receive(USER, ShowModel(model=MODEL))
    assert isinstance(shown, ModelShown)
    assert shown.version == ref_of(done.version)
    facts = [(e.version, e.parent, e.job, e.round, e.contributors, e.kept) for e in shown.history]
    assert facts == [(2, 1, JOB, 1, 3, True), (1, None, None, 0, 0, True)]
    assert (shown.versions, shown.best, {each.at for each in shown.history}) == (2, 2, {AT})
    assert [(each.version, each.why) for each in shown.kept] == [(2, "best"), (1, "pushed")]
    [first] = harness.receive(USER, ShowModel(model=MODEL, version=1, before=2))
    assert first.version.version == 1
    assert [each.version for each in first.history] == [1]


def test_a_version_is_shown_with_its_round_if_it_is_asked_for(
    harness: Harness, store: Store
) -> None:
    """Who is in it, with which coefficient, by which strategy."""
    begin(store)
    done = commit_state(store, 1.0)
    [shown] = harness.receive(USER, ShowModel(model=MODEL, record=True))
    assert shown.record == done.record
    assert [each.strategy for each in shown.history] == [FEDAVGM, None]
    [without] = harness.receive(USER, ShowModel(model=MODEL))
    [pushed] = harness.receive(USER, ShowModel(model=MODEL, version=1, record=True))
    assert (without.record, pushed.record) == (None, None)


def test_no_agent_of_a_private_round_is_shown_to_users(harness: Harness, store: Store) -> None:
    """Nor is a figure of training, nor how many took part; the repository keeps the record."""
    begin(store, strategy=PRIVATE)
    spent = spent_with()
    done = commit_private(store, 1.0)
    assert done.record is not None
    store.store_evaluation(0, JOB, 1, {"accuracy": 0.5, "train_accuracy": 0.75})
    harness.connect()
    [shown] = harness.receive(USER, ShowModel(model=MODEL, record=True))
    assert shown.record == replace(done.record, contributors=(), refusals=(), metrics={})
    newest = shown.history[0]
    assert (newest.contributors, newest.metrics) == (0, {"accuracy": 0.5})
    assert (newest.privacy, harness.latest[-1].privacy) == (spent, spent)
    assert harness.latest[-1].metrics == {"accuracy": 0.5}
    for message in (shown, harness.latest[-1]):
        assert not [agent for agent in AGENTS if agent.encode() in codec.pack(message)]
    assert store.record(done.version) == done.record


def test_users_do_not_see_who_was_drawn_in_secret(harness: Harness, store: Store) -> None:
    """How often the agent with most took part depends on it; the repository keeps the figure."""
    terms = replace(TERMS, sampling="poisson", relation="add-or-remove-one", rate=0.5)
    begin(store, strategy=replace(PRIVATE, privacy=terms))
    commit_private(store, 1.0)
    done = commit_private(store, 2.0, agents=())
    assert done.version.privacy is not None
    assert (done.version.privacy.entries, done.version.privacy.participations) == (2, 1)
    harness.connect()
    [shown] = harness.receive(USER, ShowModel(model=MODEL, record=True))
    [spent] = harness.receive(USER, ShowPrivacy(model=MODEL))
    found = (shown.record.privacy, shown.history[0].privacy, harness.latest[-1].privacy)
    assert [each.participations for each in (*found, spent.jobs[0].spent) if each] == [2] * 4


def test_an_answer_is_cut_to_what_a_message_holds(
    harness: Harness, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history first, which can be asked for again, then the record."""
    begin(store)
    for value in range(1, 9):
        commit_next(store, float(value))
    question = ShowModel(model=MODEL, record=True)
    [whole] = harness.receive(USER, question)
    assert len(whole.history) == 9
    smallest = len(codec.pack(replace(whole, history=())))
    for size, versions in ((len(codec.pack(whole)) - 1, 4), (smallest, 0), (smallest - 1, 0)):
        monkeypatch.setattr(catalog, "MAX_SHOWN_BYTES", size)
        [cut] = harness.receive(USER, question)
        assert [each.version for each in cut.history] == [*range(9, 9 - versions, -1)]
        assert (cut.record is None) == (size < smallest)


def test_what_is_not_there_is_refused_with_what_is(harness: Harness, store: Store) -> None:
    """The sentence says how to mend it."""
    push(store)
    [model] = harness.receive(USER, ShowModel(model="faces"))
    assert "no model named 'faces'; known: digits;" in model.reason
    question = ShowModel(model=MODEL, version=7)
    [version] = harness.receive(USER, question)
    assert version == refusal_of_request(
        question, MODEL, "model 'digits' has versions 1 to 1, no 7", "unknown"
    )


@pytest.mark.parametrize(
    ("message", "about"), [(ListModels(), "models"), (ShowModel(model=MODEL), MODEL)]
)
def test_a_store_that_cannot_be_read_is_told(harness: Harness, message: object, about: str) -> None:
    """A user should not wait for nothing."""
    harness.handle(Received(USER, message))
    harness.handle(RunFailed(harness.runs.popleft().key, StoreError("input/output error")))
    assert harness.sent[-1][1] == refusal_of_request(message, about, "input/output error", "other")
