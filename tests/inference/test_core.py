"""The core sends requests to their models, and answers those that have none."""

import json

import msgpack
import pytest

from fedbus.core.events import Connected, ReplyTo, Requested, Stopping
from fedbus.wire.topics import INFERENCE, MODEL_ALIASES, MODEL_LATEST, SUBMIT
from fedbus_inference import prediction_queue
from fedbus_inference.keys import Prediction, SpecReading, VersionLoading
from fedbus_inference.settings import InferenceSettings
from fedbus_inference.unanswered import LOG_EVERY_SECONDS, MAX_NOTED_REQUESTS
from tests.container_sizes import container_sizes, grown
from tests.inference.harness import FAULTY, REPLY, Harness


def test_it_subscribes_to_models_before_requests() -> None:
    """What is retained comes with each subscription, so a fresh replica knows its models."""
    assert Harness().core.listens == (MODEL_LATEST, MODEL_ALIASES, INFERENCE)


def test_it_is_no_agent() -> None:
    """It announces nothing, and has no task to make progress in."""
    core = Harness().core
    assert core.facts() is None
    assert core.progress() == 0


def test_a_request_is_answered_by_the_newest_version() -> None:
    """The whole way, from JSON to JSON."""
    harness = Harness()
    harness.serve(2)
    harness.ask([[1, 2, 3], [0, 0, 0]])
    harness.settle()
    (reply,) = harness.replies
    assert reply.to == ReplyTo("fedbus/v1/replies/me", b"1", None)
    assert harness.answer() == {"model": "sum", "version": 2, "outputs": [[8], [2]]}
    assert harness.core.counts["requests_answered"] == 1


def test_each_model_has_its_own_version() -> None:
    """Models do not wait for each other."""
    harness = Harness()
    harness.serve(1)
    harness.serve(7, model="other")
    harness.ask(model="other")
    harness.ask()
    harness.settle()
    assert [answer["version"] for answer in harness.answers()] == [7, 1]
    assert harness.core.versions == {"sum": 1, "other": 7}


def test_an_unknown_model_is_refused_with_those_that_are_known() -> None:
    """A typing error is found at once."""
    harness = Harness()
    harness.ask(model="digit")
    harness.serve(1)
    harness.announce(1, model="digits")
    harness.ask(model="digit")
    assert harness.answers() == [
        {"error": f"no model 'digit' here; known: {known}", "model": "digit", "kind": "not_found"}
        for known in ("none yet", "digits, sum")
    ]
    assert harness.core.counts == {"requests_refused": 2}


def test_a_refusal_comes_in_the_encoding_of_the_request() -> None:
    """A client that uses msgpack need not read JSON."""
    harness = Harness()
    harness.ask(model="digit", content_type="application/msgpack")
    (reply,) = harness.replies
    assert reply.content_type == "application/msgpack"
    assert msgpack.unpackb(reply.payload)["model"] == "digit"


def test_an_unknown_content_type_is_refused_in_json() -> None:
    """The one encoding every client can show to a person."""
    harness = Harness()
    harness.serve(1)
    harness.ask(content_type="image/png")
    assert "got 'image/png'" in harness.answer()["error"]


def test_a_request_without_a_reply_address_is_counted_and_ignored() -> None:
    """It cannot be answered."""
    harness = Harness()
    harness.serve(1)
    harness.ask(reply=None)
    assert not harness.runs
    assert not harness.replies
    assert harness.core.counts == {"requests_ignored": 1}


def test_a_request_that_cannot_be_answered_is_said_once_a_minute() -> None:
    """With its model and why; a client that goes on asking does not fill the log."""
    harness = Harness()
    harness.serve(1)
    for _ in range(3):
        harness.handle(unanswerable("digits", "no reply topic"))
    harness.handle(unanswerable("digits", "elsewhere"))
    harness.now += LOG_EVERY_SECONDS
    harness.handle(unanswerable("digits", "no reply topic"))
    said = [note.facts for note in harness.notes if note.event == "request_unanswerable"]
    assert said == [
        {"model": "digits", "reason": "no reply topic", "more_since": 0},
        {"model": "digits", "reason": "elsewhere", "more_since": 2},
        {"model": "digits", "reason": "no reply topic", "more_since": 0},
    ]


def test_what_clients_choose_does_not_fill_the_log() -> None:
    """The number of log lines a minute is limited; further requests are counted."""
    harness = Harness()
    for number in range(2 * MAX_NOTED_REQUESTS):
        harness.handle(unanswerable(f"m{number}", "no reply topic"))
    assert (
        len([note for note in harness.notes if note.event == "request_unanswerable"])
        == MAX_NOTED_REQUESTS
    )


def unanswerable(model: str, reason: str) -> Requested:
    """Build a request that cannot be answered."""
    return Requested(INFERENCE, {"model": model}, b"{}", None, None, unanswerable=reason)


def test_a_malformed_request_is_answered_with_a_sentence() -> None:
    """It costs a thread's moment, and nothing else."""
    harness = Harness()
    harness.serve(1)
    harness.ask(payload=b"{")
    harness.settle()
    assert harness.answer()["error"].startswith("the payload: not JSON")
    assert harness.core.counts == {"requests_refused": 1}


def test_other_events_are_ignored() -> None:
    """After a reconnect the broker sends the retained announcements again."""
    harness = Harness()
    harness.handle(Connected())
    harness.handle(Requested(SUBMIT, {}, b"", None, REPLY))
    assert not harness.replies
    assert not harness.fetches


# ── while the first version is loading ────────────────────────────────────────────────────────────


def test_requests_wait_for_the_first_version() -> None:
    """A service that has just started keeps its callers."""
    harness = Harness()
    harness.announce(1)
    harness.ask([1, 1, 1])
    harness.ask([2, 2, 2])
    assert not harness.replies
    harness.settle()
    assert [answer["outputs"] for answer in harness.answers()] == [[[4]], [[7]]]
    assert harness.loaded[0].batches == [1, 2]  # the trial, then both at once


def test_no_request_waits_longer_than_its_timeout() -> None:
    """Each is refused with the reason; a later request keeps waiting."""
    harness = Harness()
    harness.announce(1)
    harness.ask([1, 1, 1])
    harness.wait(6)
    harness.ask([2, 2, 2])
    harness.wait(4)
    assert harness.answer()["error"] == (
        "no answer within 10 s: the model is still loading, or busy; ask again"
    )
    harness.wait(5)
    harness.settle()
    assert harness.answer()["outputs"] == [[7]]
    harness.wait(1)
    assert not harness.timers


def test_more_than_the_queue_holds_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither many requests nor large ones fill the memory."""
    monkeypatch.setattr(prediction_queue, "MAX_QUEUED_BYTES", 100)
    harness = Harness(settings=InferenceSettings(max_queued_requests=2))
    harness.announce(1)
    harness.ask()
    harness.ask()
    harness.ask()
    assert harness.answer()["error"] == (
        "overloaded: requests that wait for this model: 2; ask again in about 1000 ms"
    )
    harness.settle()
    assert len(harness.answers()) == 2
    harness.serve(2)
    harness.ask(payload=b" " * 101)
    assert harness.answer()["error"].startswith("overloaded")


def test_while_no_version_loads_the_reason_is_told() -> None:
    """A caller need not wait for what is known not to come soon."""
    harness = Harness(frameworks=("torch",))
    harness.announce(1)
    harness.ask()
    harness.settle()
    harness.ask()
    reason = (
        "the model has architectures for sums; this service runs torch: install one of the former, "
        "or set FEDBUS_RUNTIME"
    )
    reason = f"version 1 is put aside: {reason}"
    assert harness.answer()["error"] == f"no version could be loaded yet: {reason}"
    harness.wait(10)
    assert harness.answers()[-1]["error"] == f"no answer within 10 s: {reason}; ask again"


# ── while a version answers, and another comes ────────────────────────────────────────────────────


def test_a_swap_drops_no_request() -> None:
    """What runs is finished by the old version, what waits is answered by the new one."""
    harness = Harness()
    harness.serve(1)
    harness.ask([1, 1, 1])
    harness.announce(2)
    harness.ask([2, 2, 2])
    while harness.fetch() or harness.run(SpecReading) or harness.run(VersionLoading):
        pass
    assert harness.core.versions == {"sum": 2}
    harness.ask([3, 3, 3])
    harness.settle()
    assert [(a["version"], a["outputs"]) for a in harness.answers()] == [
        (1, [[4]]),
        (2, [[8]]),
        (2, [[11]]),
    ]
    assert harness.noted("model_swapped")[-1] == {"model": "sum", "version": 2}


def test_the_old_version_answers_until_the_new_one_is_loaded() -> None:
    """Fetching and loading delay no request."""
    harness = Harness()
    harness.serve(1)
    harness.announce(2)
    harness.ask()
    harness.run(Prediction)
    assert harness.answer()["version"] == 1


def test_one_prediction_runs_at_a_time_and_the_rest_go_together() -> None:
    """A framework's model is used by one thread at a time."""
    harness = Harness()
    harness.serve(1)
    for _ in range(5):
        harness.ask()
    assert len(harness.runs) == 1
    harness.settle()
    assert harness.loaded[0].batches == [1, 1, 4]
    assert len(harness.answers()) == 5


def test_a_thread_that_fails_answers_all_it_was_given() -> None:
    """Even a lack of memory is told to those who wait for it, and to the log once a version."""
    harness = Harness()
    harness.serve(1)
    for _ in range(2):
        harness.ask()
        (run,) = harness.runs
        harness.runs.clear()
        harness.fail(run.key, MemoryError("too much"))
    assert [answer["error"] for answer in harness.answers()] == [
        "the prediction failed: MemoryError: too much"
    ] * 2
    assert harness.noted("prediction_failed") == [
        {"model": "sum", "version": 1, "reason": "MemoryError: too much"}
    ]


def test_a_model_that_cannot_answer_is_noted_once_for_each_version() -> None:
    """Its callers get a sentence each; the log is not theirs to fill."""
    harness = Harness()
    for version in (1, 2):
        harness.serve(version)
        for _ in range(3):
            harness.ask([FAULTY, 0, 0])
            harness.settle()
    assert [noted["version"] for noted in harness.noted("prediction_failed")] == [1, 2]
    assert len(harness.answers()) == 6


def test_queued_requests_are_refused_when_the_process_stops() -> None:
    """Their clients ask again, and another replica answers."""
    harness = Harness()
    harness.serve(1, model="other")
    harness.announce(1)
    harness.ask()
    harness.handle(Stopping())
    stopping = {"error": "this replica is stopping; ask again", "model": "sum", "kind": "stopping"}
    assert harness.answer() == stopping
    harness.ask()
    harness.ask(model="other")
    assert harness.answers() == [stopping, stopping | {"model": "other"}]


@pytest.mark.parametrize("inputs", [[[1, 2, 3]], [1, 2, 3]])
def test_the_answer_is_a_batch_whatever_was_asked(inputs: object) -> None:
    """One example or a batch of one: the client reads `outputs[0]`."""
    harness = Harness()
    harness.serve(1)
    harness.ask(payload=json.dumps({"inputs": inputs, "note": "unknown keys are fine"}).encode())
    harness.settle()
    assert harness.answer()["outputs"] == [[7]]


def test_nothing_is_kept_of_versions_and_requests() -> None:
    """Of 2,000 versions with weights of their own, versions that fail, and wrong requests."""
    harness, counts = Harness(), []
    for versions in (range(1, 101), range(101, 2101)):
        for version in versions:
            fails = version % 10 == 0
            harness.serve(version, **({"digest": "0" * 64} if fails else {}))
            if fails:
                harness.wait(120.0)
            reply = ReplyTo(f"fedbus/v1/replies/asker-{version}", b"%d" % version, None)
            harness.ask(reply=reply)
            harness.ask(payload=b"[" * (version % 50), reply=reply)
            harness.ask(model=f"nothing-{version}", reply=reply)
            harness.ask(reply=None)
            harness.settle()
            assert len(harness.answers()) == 3
        counts.append(container_sizes(harness.core))
    ours = {name.partition(".")[0] for name in grown(counts[0], counts[1], 20)}
    assert ours <= {"Note", "Harness", "Sums"}  # the test's own, which the core leads to


def test_refusals_name_no_folder_of_the_machine() -> None:
    """Whatever an error of the operating system or of a framework names; the log has it whole."""
    harness = Harness()
    harness.announce(1)
    harness.fetch()
    harness.run()
    harness.fetch()
    (loading,) = harness.runs
    fault = OSError(28, "No space left on device", "/srv/fedbus/home/trials/abc.json")
    harness.fail(loading.key, fault)
    harness.ask()
    harness.wait(30)
    error = harness.answer()["error"]
    assert "No space left on device: '…/abc.json'" in error
    assert "/srv" not in error
    status = harness.core.status("sum")
    assert status is not None
    assert "/srv" not in status.reason
    (noted,) = harness.noted("model_not_loaded")
    assert "/srv/fedbus/home/trials/abc.json" in noted["reason"]
