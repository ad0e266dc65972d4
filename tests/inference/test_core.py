"""The core sends requests to their models, and answers those that have none."""

import json

import msgpack
import pytest

from fedbus.core.events import Connected, ReplyTo, Requested, Stopping
from fedbus.wire.topics import INFERENCE, MODEL_LATEST, SUBMIT
from fedbus_inference.keys import Prediction, SpecReading, VersionLoading
from fedbus_inference.limits import Limits
from fedbus_inference.unanswered import EVERY_SECONDS, MAX_NOTED_REQUESTS
from tests.held import grown, held
from tests.inference.stand import FAULTY, REPLY, Stand


def test_it_hears_of_models_before_it_hears_requests() -> None:
    """What is retained comes with each subscription, so a fresh replica knows its models."""
    assert Stand().core.listens == (MODEL_LATEST, INFERENCE)


def test_it_is_no_agent() -> None:
    """It announces nothing, and has no task to make progress in."""
    core = Stand().core
    assert core.facts() is None
    assert core.progress() == 0


def test_a_request_is_answered_by_the_newest_version() -> None:
    """The whole way, from JSON to JSON."""
    stand = Stand()
    stand.serve(2)
    stand.ask([[1, 2, 3], [0, 0, 0]])
    stand.settle()
    (reply,) = stand.replies
    assert reply.to == ReplyTo("fedbus/v1/replies/me", b"7", None)
    assert stand.answer() == {"model": "sum", "version": 2, "outputs": [[8], [2]]}
    assert stand.core.counts["requests_answered"] == 1


def test_each_model_has_its_own_version() -> None:
    """Models do not wait for each other."""
    stand = Stand()
    stand.serve(1)
    stand.serve(7, model="other")
    stand.ask(model="other")
    stand.ask()
    stand.settle()
    assert [answer["version"] for answer in stand.answers()] == [7, 1]
    assert stand.core.versions == {"sum": 1, "other": 7}


def test_an_unknown_model_is_refused_with_those_that_are_known() -> None:
    """A typing error is found at once."""
    stand = Stand()
    stand.ask(model="digit")
    stand.serve(1)
    stand.announce(1, model="digits")
    stand.ask(model="digit")
    assert stand.answers() == [
        {"error": "no model 'digit' here; known: none yet", "model": "digit"},
        {"error": "no model 'digit' here; known: digits, sum", "model": "digit"},
    ]
    assert stand.core.counts == {"requests_refused": 2}


def test_a_refusal_comes_in_the_encoding_of_the_request() -> None:
    """A client that speaks msgpack need not read JSON."""
    stand = Stand()
    stand.ask(model="digit", content_type="application/msgpack")
    (reply,) = stand.replies
    assert reply.content_type == "application/msgpack"
    assert msgpack.unpackb(reply.payload)["model"] == "digit"


def test_an_unknown_content_type_is_refused_in_json() -> None:
    """The one encoding every client can show to a person."""
    stand = Stand()
    stand.serve(1)
    stand.ask(content_type="image/png")
    assert "content type 'image/png'" in stand.answer()["error"]


def test_a_request_without_a_reply_address_is_counted_and_let_go() -> None:
    """There is nobody to answer."""
    stand = Stand()
    stand.serve(1)
    stand.ask(reply=None)
    assert not stand.runs
    assert not stand.replies
    assert stand.core.counts == {"requests_ignored": 1}


def test_a_request_that_cannot_be_answered_is_said_once_a_minute() -> None:
    """With its model and why; a client that goes on asking does not fill the log."""
    stand = Stand()
    stand.serve(1)
    for _ in range(3):
        stand.tell(unanswerable("digits", "no reply topic"))
    stand.tell(unanswerable("digits", "elsewhere"))
    stand.now += EVERY_SECONDS
    stand.tell(unanswerable("digits", "no reply topic"))
    said = [note.facts for note in stand.notes if note.event == "request_unanswerable"]
    assert said == [
        {"model": "digits", "reason": "no reply topic", "more_since": 0},
        {"model": "digits", "reason": "elsewhere", "more_since": 2},
        {"model": "digits", "reason": "no reply topic", "more_since": 0},
    ]


def test_what_clients_choose_does_not_fill_the_log() -> None:
    """So many names of models a minute, and the rest is counted."""
    stand = Stand()
    for number in range(2 * MAX_NOTED_REQUESTS):
        stand.tell(unanswerable(f"m{number}", "no reply topic"))
    assert (
        len([note for note in stand.notes if note.event == "request_unanswerable"])
        == MAX_NOTED_REQUESTS
    )


def unanswerable(model: str, reason: str) -> Requested:
    """Make a request whose asker cannot be answered."""
    return Requested(INFERENCE, {"model": model}, b"{}", None, None, unanswerable=reason)


def test_a_malformed_request_is_answered_with_a_sentence() -> None:
    """It costs a thread's moment, and nothing else."""
    stand = Stand()
    stand.serve(1)
    stand.ask(payload=b"{")
    stand.settle()
    assert stand.answer()["error"].startswith("the payload: not JSON")
    assert stand.core.counts == {"requests_answered": 0, "requests_refused": 1}


def test_other_events_mean_nothing_to_it() -> None:
    """The broker itself says what there is after a reconnect."""
    stand = Stand()
    stand.tell(Connected())
    stand.tell(Requested(SUBMIT, {}, b"", None, REPLY))
    assert not stand.replies
    assert not stand.fetches


# ── while the first version is loading ────────────────────────────────────────────────────────────


def test_requests_wait_for_the_first_version() -> None:
    """A service that has just started keeps its callers."""
    stand = Stand()
    stand.announce(1)
    stand.ask([1, 1, 1])
    stand.ask([2, 2, 2])
    assert not stand.replies
    stand.settle()
    assert [answer["outputs"] for answer in stand.answers()] == [[[4]], [[7]]]
    assert stand.loaded[0].batches == [1, 2]  # the trial, then both at once


def test_nobody_waits_longer_than_their_patience() -> None:
    """Each is told why and may ask again; who came later waits on."""
    stand = Stand()
    stand.announce(1)
    stand.ask([1, 1, 1])
    stand.wait(6)
    stand.ask([2, 2, 2])
    stand.wait(4)
    assert stand.answer()["error"] == (
        "no answer within 10 s: the model is still loading, or busy; ask again"
    )
    stand.wait(5)
    stand.settle()
    assert stand.answer()["outputs"] == [[7]]
    stand.wait(1)
    assert not stand.timers


def test_more_than_the_queue_holds_is_refused_at_once() -> None:
    """Neither many requests nor large ones fill the memory."""
    stand = Stand(limits=Limits(waiting=2, waiting_bytes=100))
    stand.announce(1)
    stand.ask()
    stand.ask()
    stand.ask()
    assert stand.answer()["error"] == "2 requests wait already; ask again in a moment"
    stand.settle()
    assert len(stand.answers()) == 2
    stand.serve(2)
    stand.ask()
    stand.ask(payload=b" " * 101)
    assert stand.answer()["error"] == "0 requests wait already; ask again in a moment"


def test_while_no_version_loads_the_reason_is_told() -> None:
    """A caller need not wait for what is known not to come soon."""
    stand = Stand(frameworks=("torch",))
    stand.announce(1)
    stand.ask()
    stand.settle()
    stand.ask()
    reason = "the model comes for sums; here is torch (install one, or set FEDBUS_RUNTIME)"
    reason = f"version 1 is put aside: {reason}"
    assert stand.answer()["error"] == f"no version could be loaded yet: {reason}"
    stand.wait(10)
    assert stand.answers()[-1]["error"] == f"no answer within 10 s: {reason}; ask again"


# ── while a version answers, and another comes ────────────────────────────────────────────────────


def test_a_swap_drops_no_request() -> None:
    """What runs is finished by the old version, what waits is answered by the new one."""
    stand = Stand()
    stand.serve(1)
    stand.ask([1, 1, 1])
    stand.announce(2)
    stand.ask([2, 2, 2])
    while stand.fetch() or stand.run(SpecReading) or stand.run(VersionLoading):
        pass
    assert stand.core.versions == {"sum": 2}
    stand.ask([3, 3, 3])
    stand.settle()
    assert [(a["version"], a["outputs"]) for a in stand.answers()] == [
        (1, [[4]]),
        (2, [[8]]),
        (2, [[11]]),
    ]
    assert stand.noted("model_swapped")[-1] == {"model": "sum", "version": 2}


def test_the_old_version_answers_until_the_new_one_is_loaded() -> None:
    """Fetching and loading hold nobody up."""
    stand = Stand()
    stand.serve(1)
    stand.announce(2)
    stand.ask()
    stand.run(Prediction)
    assert stand.answer()["version"] == 1


def test_one_prediction_runs_at_a_time_and_the_rest_go_together() -> None:
    """A framework's model is used by one thread at a time."""
    stand = Stand()
    stand.serve(1)
    for _ in range(5):
        stand.ask()
    assert len(stand.runs) == 1
    stand.settle()
    assert stand.loaded[0].batches == [1, 1, 4]
    assert len(stand.answers()) == 5


def test_a_thread_that_fails_answers_all_it_was_given() -> None:
    """Even a lack of memory is told to those who wait for it, and to the log once a version."""
    stand = Stand()
    stand.serve(1)
    for _ in range(2):
        stand.ask()
        (run,) = stand.runs
        stand.runs.clear()
        stand.fail(run.key, MemoryError("too much"))
    assert [answer["error"] for answer in stand.answers()] == [
        "the prediction failed: MemoryError: too much"
    ] * 2
    assert stand.noted("prediction_failed") == [
        {"model": "sum", "version": 1, "reason": "MemoryError: too much"}
    ]


def test_a_model_that_cannot_answer_is_noted_once_for_each_version() -> None:
    """Its callers get a sentence each; the log is not theirs to fill."""
    stand = Stand()
    for version in (1, 2):
        stand.serve(version)
        for _ in range(3):
            stand.ask([FAULTY, 0, 0])
            stand.settle()
    assert [noted["version"] for noted in stand.noted("prediction_failed")] == [1, 2]
    assert len(stand.answers()) == 6


def test_who_waits_is_told_when_the_process_stops() -> None:
    """They ask again, and another replica answers."""
    stand = Stand()
    stand.serve(1, model="other")
    stand.announce(1)
    stand.ask()
    stand.tell(Stopping())
    assert stand.answer() == {"error": "this replica is stopping; ask again", "model": "sum"}


@pytest.mark.parametrize("inputs", [[[1, 2, 3]], [1, 2, 3]])
def test_the_answer_is_a_batch_whatever_was_asked(inputs: object) -> None:
    """One example or a batch of one: the client reads `outputs[0]`."""
    stand = Stand()
    stand.serve(1)
    stand.ask(payload=json.dumps({"inputs": inputs, "note": "unknown keys are fine"}).encode())
    stand.settle()
    assert stand.answer()["outputs"] == [[7]]


def test_nothing_is_kept_of_versions_and_requests() -> None:
    """Of 2,000 versions with weights of their own, versions that fail, and wrong requests."""
    stand, counts = Stand(), []
    for versions in (range(1, 101), range(101, 2101)):
        for version in versions:
            fails = version % 10 == 0
            stand.serve(version, **({"digest": "0" * 64} if fails else {}))
            if fails:
                stand.wait(120.0)
            reply = ReplyTo(f"fedbus/v1/replies/asker-{version}", b"%d" % version, None)
            stand.ask(reply=reply)
            stand.ask(payload=b"[" * (version % 50), reply=reply)
            stand.ask(model=f"nothing-{version}", reply=reply)
            stand.ask(reply=None)
            stand.settle()
            assert len(stand.answers()) == 3
        counts.append(held(stand.core))
    ours = {name.partition(".")[0] for name in grown(counts[0], counts[1], 20)}
    assert ours <= {"Note", "Stand", "Sums"}  # the test's own, which the core leads to
