"""Requests from their arrival to their answer."""

from collections.abc import Iterable

import pytest

from fedbus.core.actions import Action, Note, Run
from fedbus_repository import requests
from fedbus_repository.keys import RequestRun
from fedbus_repository.requests import Call, FetchUploads, RequestRunner, RequestSteps

KEY = RequestRun("Greet", "user.cli")


def greeting(name: str) -> RequestSteps:
    """Ask a thread for a word, and return what to do with it."""
    word = yield Call(str)
    yield FetchUploads(())
    return (Note("greeted", {"name": name, "word": word}),)


def test_a_request_goes_from_step_to_step() -> None:
    """A result is sent in, nothing to bring is brought at once, and its end is performed."""
    runner = RequestRunner()
    assert list(runner.start(KEY, "hello", greeting("Ada"))) == [Run(KEY, str)]
    assert list(runner.ran(KEY, "hello")) == [Note("greeted", {"name": "Ada", "word": "hello"})]


def test_a_mistake_in_one_request_ends_only_that() -> None:
    """It is noted with its kind, and the same request can be made again."""

    def mistaken() -> RequestSteps:
        word: str = yield Call(str)
        return (Note(word.nonsense, {}),)  # type: ignore[attr-defined]  # the mistake

    runner = RequestRunner()
    list(runner.start(KEY, "hello", mistaken()))
    [note] = runner.ran(KEY, "hello")
    assert isinstance(note, Note)
    assert "AttributeError" in note.facts["reason"]
    assert list(runner.start(KEY, "hello", greeting("Ada"))) == [Run(KEY, str)]


def test_there_is_a_limit_to_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further requests must be sent again; memory does not grow with their number."""
    monkeypatch.setattr(requests, "MAX_RUNNING_REQUESTS", 2)
    runner = RequestRunner()

    def started(number: int) -> Iterable[Action]:
        return list(runner.start(RequestRun("Greet", f"user.{number}"), "hello", greeting("Ada")))

    assert [bool(started(number)) for number in range(3)] == [True, True, False]
    list(runner.ran(RequestRun("Greet", "user.0"), "hello"))
    assert started(2)
