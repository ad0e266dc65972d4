"""Errands to the repository, without one."""

from collections.abc import Iterable
from typing import Any, TypeVar

import pytest

from fedbus.blobs.spool import Spools
from fedbus.client.failures import Failed, Refused, Unreachable
from fedbus.client.repository import (
    PATIENCE_SECONDS,
    STALLED_SECONDS,
    AnswerDeadline,
    BlobFetch,
    Errand,
    OpenQuestion,
    Pull,
    Push,
    Question,
)
from fedbus.core.actions import Ask, Cancel, Fetch, Run, Serve, WakeAt
from fedbus.core.events import Connected, Event, Fetched, FetchFailed, Ran, Received, Stopping, Woke
from fedbus.digest import digest_of
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.messages import (
    ListModels,
    ModelPushed,
    ModelsListed,
    PushModel,
    RequestRefused,
)

A = TypeVar("A")

HERE = "repository.1"
DATA = b"some bytes"
BLOB = BlobRef(digest=digest_of(DATA), size=len(DATA))
LISTED = ModelsListed(models=())


def told(errand: Errand[Any], *events: Event, now: float = 0.0) -> tuple[list[Any], list[Any]]:
    """Tell an errand what happens; returns its actions, and what it ended with."""
    ends: list[Any] = []
    errand.finish = ends.append
    actions = [action for event in events for action in errand.handle(event, now)]
    return actions, ends


def only(kind: type[A], actions: Iterable[object]) -> A:
    """The one action of a kind."""
    (found,) = [action for action in actions if isinstance(action, kind)]
    return found


def question() -> Question[ModelsListed]:
    """Which models are there?"""
    return Question(HERE, ListModels(), ModelsListed)


def test_a_question_ends_with_its_answer() -> None:
    """And is not asked again."""
    actions, ends = told(question(), Connected(), Received(HERE, LISTED))
    assert only(Ask, actions).message == ListModels()
    assert only(Cancel, actions).key == OpenQuestion()
    assert ends == [LISTED]


def test_others_answers_are_not_ours() -> None:
    """Another command of the same account may be asking too."""
    stranger = Received("repository.2", LISTED)
    another = Received(HERE, ModelPushed(version=_ref()))
    _, ends = told(question(), Connected(), stranger, another, Stopping())
    assert ends == []


def test_a_refusal_says_who_refused_and_why() -> None:
    """Exit code 4."""
    refusal = Received(HERE, RequestRefused(about="m", reason="no model 'm'"))
    _, (end,) = told(question(), Connected(), refusal)
    assert isinstance(end, Refused)
    assert str(end) == "repository.1: no model 'm'"


def test_silence_ends_with_who_was_silent() -> None:
    """Exit code 3, after a while."""
    actions, (end,) = told(question(), Connected(), Woke(AnswerDeadline()))
    assert only(WakeAt, actions).at == PATIENCE_SECONDS
    assert isinstance(end, Unreachable)
    assert str(end) == "repository.1 did not answer in 15 s; is it running?"


def test_an_errand_that_is_over_grows_impatient_with_nobody() -> None:
    """In a simulation it stays beside others for as long as a job takes."""
    asked = question()
    answer = Received(HERE, LISTED)
    _, ends = told(asked, Connected(), answer, Woke(AnswerDeadline()), Connected(), answer)
    assert ends == [LISTED]


def test_a_push_goes_on_as_long_as_somebody_reads() -> None:
    """A large model takes as long as it takes."""
    message = PushModel(model="m", spec=BLOB, weights=BLOB)
    push = Push(HERE, message, ModelPushed, {BLOB.digest: DATA})
    actions, _ = told(push, Connected())
    serve = only(Serve, actions)
    assert serve.source.size == len(DATA)
    assert bytes(serve.source.read(5, 5)) == b"bytes"
    patience, none = told(push, Woke(AnswerDeadline()), now=15.0)
    assert (patience, none) == ([WakeAt(AnswerDeadline(), 15.0 + STALLED_SECONDS)], [])
    _, (end,) = told(push, Woke(AnswerDeadline()), now=75.0)
    assert isinstance(end, Unreachable)
    assert "in 60 s" in str(end)


def test_a_pull_ends_with_blobs_that_are_what_they_are_called() -> None:
    """Their digests are worked out here, in a thread."""
    pull = Pull(HERE, (BLOB,), Spools(100))
    actions, _ = told(pull, Connected())
    fetch = only(Fetch, actions)
    fetch.sink.write(0, DATA)
    run = only(Run, told(pull, Fetched(fetch.key, fetch.sink))[0])
    _, (got,) = told(pull, Ran(run.key, run.call()))
    assert bytes(got[BLOB.digest].read(0, BLOB.size)) == DATA


def test_whoever_waits_is_told_of_what_moves() -> None:
    """A model of gigabytes takes minutes, in either direction."""
    moved: list[int] = []
    pull = Pull(HERE, (BLOB,), Spools(100))
    pull.moved = moved.append
    only(Fetch, told(pull, Connected())[0]).sink.write(0, DATA)
    push = Push(
        HERE, PushModel(model="m", spec=BLOB, weights=BLOB), ModelPushed, {BLOB.digest: DATA}
    )
    push.moved = moved.append
    only(Serve, told(push, Connected())[0]).source.read(5, 3)
    assert moved == [len(DATA), 3]


def test_other_bytes_than_were_promised_are_refused() -> None:
    """Whoever sent them."""
    pull = Pull(HERE, (BLOB,), Spools(100))
    fetch = only(Fetch, told(pull, Connected())[0])
    fetch.sink.write(0, b"some bytez")
    run = only(Run, told(pull, Fetched(fetch.key, fetch.sink))[0])
    _, (end,) = told(pull, Ran(run.key, run.call()))
    assert isinstance(end, Failed)
    assert "other bytes than" in str(end)


def test_a_blob_that_will_not_come_ends_the_pull() -> None:
    """With the reason of the transfer."""
    pull = Pull(HERE, (BLOB,), Spools(100))
    _, (end,) = told(pull, Connected(), FetchFailed(BlobFetch(BLOB.digest), "it is gone"))
    assert isinstance(end, Failed)
    assert str(end) == "repository.1: it is gone"


@pytest.mark.parametrize("errand", [question(), Pull(HERE, (BLOB,), Spools(100))])
def test_an_errand_announces_nothing_of_itself(errand: Errand[Any]) -> None:
    """It is no agent and does no work."""
    assert (errand.facts(), errand.progress(), errand.listens) == (None, 0.0, ())


def _ref() -> ModelRef:
    return ModelRef(model="m", version=1, weights=BLOB, spec=BLOB, source=HERE)
