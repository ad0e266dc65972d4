"""Time after which a request without an answer is sent again."""

from fedbus.client.answer_times import (
    FIRST_REPEAT_SECONDS,
    MAX_MEASURED,
    MAX_REPEAT_SECONDS,
    MIN_MEASURED,
    MIN_REPEAT_SECONDS,
    STEADY_ATTEMPTS,
    AnswerTimes,
)
from fedbus.client.inference import MAX_RETRIES, STOPPING_PAUSE_SECONDS, pause_before_retry


def measured(*seconds: float) -> AnswerTimes:
    """Measure these times."""
    times = AnswerTimes()
    for each in seconds:
        times.measured(each)
    return times


def test_without_measurements_a_request_waits_a_second() -> None:
    """Its model may be loading."""
    assert AnswerTimes().repeat_after(0) == FIRST_REPEAT_SECONDS
    assert measured(*[0.001] * (MIN_MEASURED - 1)).repeat_after(0) == FIRST_REPEAT_SECONDS


def test_quick_services_are_asked_again_soon_and_slow_ones_later() -> None:
    """After three times what nearly all answers take, within bounds."""
    assert measured(*[0.001] * 50).repeat_after(0) == MIN_REPEAT_SECONDS
    assert measured(*[0.2] * 50).repeat_after(0) == 0.2 * 3
    assert measured(*[5.0] * 50).repeat_after(0) == MAX_REPEAT_SECONDS


def test_one_slow_answer_of_many_counts_and_is_forgotten() -> None:
    """The 99th percentile of the last ones."""
    times = measured(*[0.01] * 20, 0.5)
    assert times.repeat_after(0) == 1.5
    for _ in range(MAX_MEASURED):
        times.measured(0.01)
    assert times.repeat_after(0) == MIN_REPEAT_SECONDS


def test_later_repetitions_wait_twice_as_long() -> None:
    """A service that does not answer at all is not flooded."""
    times = measured(*[0.001] * 50)
    waits = [times.repeat_after(attempt) for attempt in range(STEADY_ATTEMPTS + 4)]
    assert waits == [0.25] * STEADY_ATTEMPTS + [0.5, 1.0, 2.0, 2.0]


def test_a_refusal_says_whether_asking_again_helps() -> None:
    """Another replica may answer, and a queue gets shorter; a wrong request stays wrong."""
    overloaded = {"error": "overloaded", "kind": "overloaded", "retry_after_ms": 120}
    assert pause_before_retry({"kind": "stopping"}, 0) == STOPPING_PAUSE_SECONDS
    assert pause_before_retry(overloaded, 0) == 0.12
    assert pause_before_retry(overloaded, MAX_RETRIES) is None
    assert pause_before_retry({"kind": "overloaded"}, 0) is None
    assert pause_before_retry({"error": "inputs of shape [2]", "kind": "invalid"}, 0) is None
    assert pause_before_retry({"error": "of an older service"}, 0) is None
