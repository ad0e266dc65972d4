"""Requests to the repository, without a repository."""

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
    OpenQuery,
    Pull,
    Push,
    RepositoryQuery,
    RepositoryRequest,
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
    ShowModel,
)
from fedbus.wire.refusals import refusal_of_request

A = TypeVar("A")

HERE = "repository.1"
DATA = b"some bytes"
BLOB = BlobRef(digest=digest_of(DATA), size=len(DATA))
LISTED = ModelsListed(models=())


def told(
    request: RepositoryRequest[Any], *events: Event, now: float = 0.0
) -> tuple[list[Any], list[Any]]:
    """Hand events to a request; return its actions, and its results."""
    ends: list[Any] = []
    request.finish = ends.append
    actions = [action for event in events for action in request.handle(event, now)]
    return actions, ends


def only(kind: type[A], actions: Iterable[object]) -> A:
    """The one action of a kind."""
    (found,) = [action for action in actions if isinstance(action, kind)]
    return found


def query() -> RepositoryQuery[ModelsListed]:
    """Which models are there?"""
    return RepositoryQuery(HERE, ListModels(), ModelsListed)


def test_a_question_ends_with_its_answer() -> None:
    """And is not asked again."""
    actions, ends = told(query(), Connected(), Received(HERE, LISTED))
    assert only(Ask, actions).message == ListModels()
    assert only(Cancel, actions).key == OpenQuery()
    assert ends == [LISTED]


def test_others_answers_are_not_ours() -> None:
    """Another command of the same account may be asking too."""
    stranger = Received("repository.2", LISTED)
    another = Received(HERE, ModelPushed(version=_ref()))
    refused = Received(HERE, refusal_of_request(ShowModel(model="m"), "m", "no model 'm'"))
    _, ends = told(query(), Connected(), stranger, another, refused, Stopping())
    assert ends == []


def test_a_refusal_says_who_refused_and_why() -> None:
    """Exit code 4."""
    refused = refusal_of_request(ListModels(), "models", "the disk is broken", "unusable")
    refusal = Received(HERE, refused)
    _, (end,) = told(query(), Connected(), refusal)
    assert isinstance(end, Refused)
    assert str(end) == "repository.1: the disk is broken"
    assert end.answer == {"reason": "the disk is broken", "kind": "unusable"}


def test_silence_ends_with_who_was_silent() -> None:
    """Exit code 3, after a while."""
    actions, (end,) = told(query(), Connected(), Woke(AnswerDeadline()))
    assert only(WakeAt, actions).at == PATIENCE_SECONDS
    assert isinstance(end, Unreachable)
    assert str(end) == "repository.1 did not answer in 15 s; is it running?"


def test_a_request_that_has_ended_does_not_time_out() -> None:
    """In a simulation it stays beside others for as long as a job takes."""
    asked = query()
    answer = Received(HERE, LISTED)
    _, ends = told(asked, Connected(), answer, Woke(AnswerDeadline()), Connected(), answer)
    assert ends == [LISTED]


def test_a_push_does_not_time_out_while_the_repository_reads() -> None:
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


def test_the_caller_learns_of_bytes_that_move() -> None:
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
    """Whichever node sent them."""
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


@pytest.mark.parametrize("asked", [query(), Pull(HERE, (BLOB,), Spools(100))])
def test_a_request_announces_nothing_of_itself(asked: RepositoryRequest[Any]) -> None:
    """It is no agent and does no work."""
    assert (asked.facts(), asked.progress(), asked.listens) == (None, 0.0, ())


def _ref() -> ModelRef:
    return ModelRef(model="m", version=1, weights=BLOB, spec=BLOB, source=HERE)
