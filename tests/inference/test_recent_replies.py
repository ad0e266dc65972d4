"""Requests that clients repeat are computed once."""

import pytest

from fedbus.core.events import ReplyTo
from fedbus_inference import recent_replies
from fedbus_inference.keys import Prediction
from fedbus_inference.recent_replies import KEPT_SECONDS, MAX_KEPT
from tests.inference.harness import FAULTY, Harness


def reply_to(correlation: bytes | None = b"1", topic: str = "me") -> ReplyTo:
    """Make a reply address of its own, as each packet has."""
    return ReplyTo(f"fedbus/v1/replies/{topic}", correlation, None)


def test_a_repeated_request_that_is_being_answered_is_ignored() -> None:
    """Its answer is on its way."""
    harness = Harness()
    harness.serve(1)
    harness.ask(reply=reply_to())
    harness.ask(reply=reply_to())
    harness.settle()
    assert len(harness.answers()) == 1
    assert harness.core.counts["requests_repeated"] == 1


def test_the_reply_to_a_repeated_request_is_sent_again_without_a_prediction() -> None:
    """The first reply may be lost."""
    harness = Harness()
    harness.serve(1)
    harness.ask(reply=reply_to())
    harness.settle()
    harness.ask(reply=reply_to())
    assert not harness.runs
    first, second = harness.answers()
    assert first == second


def test_a_later_request_is_computed_again() -> None:
    """Only what is repeated soon is a repetition."""
    harness = Harness()
    harness.serve(1)
    for _ in range(2):
        harness.ask(reply=reply_to())
        harness.settle()
        harness.now += KEPT_SECONDS
    assert len(harness.loaded[0].batches) == 3  # the trial, and both


def test_a_new_version_computes_a_repeated_request() -> None:
    """A client that asks the same question over and over gets the newest answer."""
    harness = Harness()
    for version in (1, 2):
        harness.serve(version)
        harness.ask(reply=reply_to())
        harness.settle()
    assert [answer["version"] for answer in harness.answers()] == [1, 2]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"reply": reply_to(b"1")}, {"reply": reply_to(b"2")}),
        ({"reply": reply_to(topic="me")}, {"reply": reply_to(topic="you")}),
        ({"reply": reply_to(None)}, {"reply": reply_to(None)}),
        ({"reply": reply_to()}, {"reply": reply_to(), "inputs": [4, 5, 6]}),
        ({"reply": reply_to()}, {"reply": reply_to(), "model": "sum@1"}),
    ],
)
def test_other_requests_are_computed(first: dict[str, object], second: dict[str, object]) -> None:
    """Of other correlation data, other clients, other inputs, other versions, or without any."""
    harness = Harness()
    harness.serve(1)
    harness.ask(**first)  # type: ignore[arg-type]  # of `ask`
    harness.ask(**second)  # type: ignore[arg-type]  # of `ask`
    harness.settle()
    assert len(harness.answers()) == 2
    assert "requests_repeated" not in harness.core.counts


def test_correlation_data_that_are_used_again_mix_nothing_up() -> None:
    """Each question gets its own answer, whatever is on its way at once."""
    harness = Harness()
    harness.serve(1)
    for row in ([1, 1, 1], [2, 2, 2], [1, 1, 1]):
        harness.ask(row, reply=reply_to())
    harness.settle()
    assert sorted(answer["outputs"][0][0] for answer in harness.answers()) == [4, 4, 7]
    harness.ask([1, 1, 1], reply=reply_to())
    harness.settle()
    assert harness.answer()["outputs"] == [[4]]


def test_a_refused_request_may_be_repeated_at_once() -> None:
    """It may have an answer now."""
    harness = Harness()
    harness.announce(1)
    harness.ask(reply=reply_to())
    harness.wait(10)
    harness.settle()
    harness.ask(reply=reply_to())
    harness.settle()
    assert ["error" in answer for answer in harness.answers()] == [True, False]
    for _ in range(2):
        harness.ask([FAULTY, 0, 0], reply=reply_to(b"2"))
        harness.settle()
    assert ["error" in answer for answer in harness.answers()] == [True, True]


def test_the_number_and_bytes_of_kept_replies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not kept is computed again."""
    harness = Harness()
    harness.serve(1)
    for number in range(MAX_KEPT + 1):
        harness.ask(reply=reply_to(b"%d" % number))
        harness.settle()
    harness.ask(reply=reply_to(b"%d" % MAX_KEPT))
    assert [type(run.key) for run in harness.runs] == [Prediction]
    harness.settle()
    monkeypatch.setattr(recent_replies, "MAX_REPLY_BYTES", 10)
    other = Harness()
    other.serve(1)
    for _ in range(2):
        other.ask(reply=reply_to())
        other.settle()
    assert len(other.loaded[0].batches) == 3
