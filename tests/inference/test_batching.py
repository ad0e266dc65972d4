"""Requests go together in batches of bounded size and wait, and late ones are not computed."""

import json

import pytest

from fedbus.core.events import ReplyTo, Requested
from fedbus.wire.topics import INFERENCE
from fedbus_inference.keys import BatchWait, Prediction, RequestDeadline
from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.prediction_pace import (
    BRIEF_SECONDS,
    MAX_BRIEF_BYTES,
    MIN_BRIEF_REQUESTS,
    PredictionPace,
)
from fedbus_inference.settings import InferenceSettings
from tests.inference.harness import Harness

QUICK, SLOW = 1e-5, 0.2


def measured(seconds: float, settings: InferenceSettings | None = None) -> Harness:
    """Serve a model whose every run takes so long, and let it answer once."""
    ticks = iter(range(1_000_000))
    harness = Harness(settings=settings or InferenceSettings(), clock=lambda: next(ticks) * seconds)
    harness.serve(1)
    harness.ask()
    harness.wait(1.0)
    harness.settle()
    harness.answers()
    harness.loaded[0].batches.clear()
    return harness


def ask_within(harness: Harness, seconds: int) -> None:
    """Publish a request with a message expiry interval."""
    payload = json.dumps({"inputs": [1, 2, 3]}).encode()
    reply = ReplyTo("fedbus/v1/replies/me", b"%d s" % seconds, None)
    harness.handle(Requested(INFERENCE, {"model": "sum"}, payload, None, reply, expiry=seconds))


# ── in the event loop, or in a thread ─────────────────────────────────────────────────────────────


def test_the_first_request_runs_in_a_thread() -> None:
    """It is not known yet how long it takes."""
    harness = Harness()
    harness.serve(1)
    harness.ask()
    assert [run.brief for run in harness.runs] == [False]


def test_a_quick_model_answers_in_the_event_loop_and_takes_all_that_arrived_together() -> None:
    """A batch that has not begun takes further requests."""
    harness = measured(QUICK)
    for _ in range(5):
        harness.ask()
    assert [run.brief for run in harness.runs] == [True]
    harness.settle()
    assert harness.loaded[0].batches == [5]
    assert len(harness.answers()) == 5


def test_a_slow_model_answers_in_a_thread() -> None:
    """The event loop goes on; what arrives forms the next batch."""
    harness = measured(SLOW)
    for _ in range(5):
        harness.ask()
    assert [run.brief for run in harness.runs] == [False]
    harness.settle()
    assert harness.loaded[0].batches == [1, 4]


def test_large_payloads_are_read_in_a_thread() -> None:
    """However quick the model is; and none joins a batch of the event loop."""
    harness = measured(QUICK)
    large = b" " * MAX_BRIEF_BYTES + b'{"inputs": [1, 2, 3]}'
    harness.ask(payload=large)
    assert [run.brief for run in harness.runs] == [False]
    harness.settle()
    harness.ask()
    harness.ask(payload=large)
    assert [run.brief for run in harness.runs] == [True]
    harness.settle()
    assert harness.loaded[0].batches == [1, 1, 1]


def test_a_long_queue_of_a_quick_model_is_computed_in_portions() -> None:
    """Each blocks the event loop for a moment only."""
    harness = measured(BRIEF_SECONDS / MIN_BRIEF_REQUESTS / 1.01)
    for _ in range(20):
        harness.ask()
    harness.settle()
    first, *others = harness.loaded[0].batches
    assert first == MIN_BRIEF_REQUESTS
    assert sum(others) == 20 - first
    assert len(others) > 1
    assert len(harness.answers()) == 20


def test_a_pace_forgets_one_slow_run() -> None:
    """It met a busy machine."""
    pace = PredictionPace()
    assert pace.brief_requests() == 0
    assert pace.wait(3) == 1.0
    pace.measured(0.0002, 2)
    pace.measured(1.0, 1)
    assert pace.brief_requests() > 0
    pace.measured(0.0001, 1)
    assert pace.wait(10) == pytest.approx(10 * (pace.seconds or 0))


def test_a_clock_that_stands_still_divides_by_nothing() -> None:
    """As in a simulation."""
    pace = PredictionPace()
    pace.measured(0.0, 1)
    assert pace.brief_requests() == pytest.approx(BRIEF_SECONDS / 1e-6, abs=1)


# ── size and wait ─────────────────────────────────────────────────────────────────────────────────


def test_no_batch_has_more_rows_than_the_limit() -> None:
    """Rows are counted, not requests; one request alone may have more."""
    harness = measured(SLOW, InferenceSettings(max_batch_rows=4))
    harness.ask()
    for rows in (3, 2, 2, 6, 1):
        harness.ask([[1, 1, 1]] * rows)
    harness.settle()
    assert harness.loaded[0].batches == [1, 3, 4, 6, 1]
    assert [len(answer["outputs"]) for answer in harness.answers()] == [1, 3, 2, 2, 6, 1]


def test_a_request_waits_for_others_if_the_settings_say_so() -> None:
    """Until the time is over, or the batch is full."""
    harness = measured(SLOW, InferenceSettings(batch_wait_ms=20, max_batch_rows=3))
    harness.ask()
    assert not harness.runs
    assert harness.timers[BatchWait("sum")] == pytest.approx(harness.now + 0.02)
    harness.ask()
    harness.wait(0.021)
    harness.settle()
    assert harness.loaded[0].batches == [2]
    for _ in range(3):
        harness.ask()
    assert len(harness.runs) == 1


def test_without_such_a_setting_an_idle_model_starts_at_once() -> None:
    """The default costs no client time."""
    harness = measured(SLOW)
    harness.ask()
    assert isinstance(harness.runs[0].key, Prediction)
    assert BatchWait("sum") not in harness.timers


# ── deadlines and overload ────────────────────────────────────────────────────────────────────────


def test_a_request_that_expires_is_not_computed() -> None:
    """Its client has gone; the model is for those who still wait."""
    harness = measured(SLOW)
    harness.ask()
    ask_within(harness, 1)
    ask_within(harness, 3)
    harness.now += 2.0  # the timer is late
    harness.settle()
    assert harness.loaded[0].batches == [1, 1]
    late = [answer for answer in harness.answers() if "error" in answer]
    assert [each["error"] for each in late] == [
        "no answer within 1 s: the model is still loading, or busy; ask again"
    ]
    assert harness.core.stats.refusals[RefusalKind.DEADLINE] == 1


def test_all_that_wait_may_expire() -> None:
    """Then nothing is computed."""
    harness = measured(SLOW)
    harness.ask()
    ask_within(harness, 1)
    harness.now += 2.0
    harness.settle()
    assert harness.loaded[0].batches == [1]
    assert not harness.runs


def test_the_timer_follows_the_first_deadline() -> None:
    """A later request may have the earlier one."""
    harness = Harness()
    harness.announce(1)
    harness.ask()
    assert harness.timers[RequestDeadline("sum")] == 10.0
    ask_within(harness, 2)
    assert harness.timers[RequestDeadline("sum")] == 2.0
    harness.wait(2.0)
    assert len(harness.answers()) == 1
    assert harness.timers[RequestDeadline("sum")] == 10.0


def test_a_client_may_not_wait_longer_than_the_settings_say() -> None:
    """Else it would fill the queue."""
    harness = Harness()
    harness.announce(1)
    ask_within(harness, 3600)
    assert harness.timers[RequestDeadline("sum")] == 10.0


def test_a_request_without_time_is_refused_at_once() -> None:
    """It expired on its way."""
    harness = measured(QUICK)
    ask_within(harness, 0)
    assert "no time is left" in harness.answer()["error"]
    assert not harness.runs


def test_an_overload_says_how_long_it_lasts() -> None:
    """From the measured pace; and a server gets it as a number."""
    harness = measured(SLOW, InferenceSettings(max_queued_requests=4))
    for _ in range(5):
        harness.ask()
    harness.ask()
    assert harness.answer()["error"] == (
        "overloaded: requests that wait for this model: 4; ask again in about 1000 ms"
    )
    harness.predict(payload=b"{}")
    assert harness.outcomes[0].refusal is RefusalKind.OVERLOADED
    assert harness.outcomes[0].retry_after == pytest.approx(5 * SLOW)


def test_refusals_are_logged_once_a_minute_by_reason() -> None:
    """Without what may quote a request: inputs are no business of the log."""
    harness = measured(SLOW, InferenceSettings(max_queued_requests=1))
    for _ in range(4):
        harness.ask()
    harness.settle()
    harness.ask([1, "secret", 3])
    harness.settle()
    noted = harness.noted("request_refused")
    assert [(each["reason"], each["more_since"]) for each in noted] == [
        ("overloaded", 0),
        ("invalid", 1),
    ]
    assert "overloaded: requests" in noted[0]["error"]
    assert "secret" not in str(noted)
