"""What people hear who submit or cancel a job: nothing that is not stored."""

import pytest

from fedbus.wire.messages import (
    EndJob,
    JobEnded,
    JobFault,
    JobRefused,
    JobStored,
    LoadJob,
    StoreJob,
)
from tests.controller.stand import JOB, REPOSITORY, Stand, job_file, loaded

STORED = JobStored(job=JOB, secret=b"s" * 32, base=loaded().latest)


def test_a_job_is_accepted_once_it_is_stored() -> None:
    """Not before; and then it is loaded."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file())
    assert stand.replies() == []
    store = stand.asked(("store", JOB), StoreJob)
    assert (store.model, store.file) == ("digits", job_file())
    stand.hear(REPOSITORY, STORED)
    assert stand.answer() == {"accepted": True, "job": JOB, "watch": f"jobs/{JOB}/state"}
    assert ("store", JOB) not in stand.asks
    assert stand.asked(("load", JOB), LoadJob).job == JOB


def test_a_job_sent_twice_is_answered_once() -> None:
    """And one whose sender wants no answer is stored all the same."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file())
    stand.submit(job_file())
    stand.submit(job_file(), None)
    stand.hear(REPOSITORY, STORED)
    assert stand.answer()["accepted"]
    stand.hear(REPOSITORY, STORED)
    assert stand.last == []


def test_other_bytes_under_an_id_that_is_being_stored_are_refused_at_once() -> None:
    """The answer that is on its way would be to the first."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file())
    stand.submit(job_file(num_rounds=9))
    assert "another job file" in stand.answer()["faults"][0]["problem"]
    assert stand.asked(("store", JOB), StoreJob).file == job_file()
    stand.submit(job_file(num_rounds=9), None)
    assert stand.last == []


def test_what_the_repository_refuses_is_refused_with_its_reason() -> None:
    """And asked no more."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file())
    fault = JobFault(key="model_name", problem="no model named 'digits'", hint="push one")
    stand.hear(REPOSITORY, JobRefused(job=JOB, faults=(fault,)))
    answer = stand.answer()
    assert (answer["accepted"], answer["job"]) == (False, JOB)
    assert answer["faults"] == [
        {"key": "model_name", "problem": "no model named 'digits'", "hint": "push one"}
    ]
    assert stand.asks == {}


def test_a_refusal_of_other_bytes_does_not_touch_the_job_that_runs() -> None:
    """Nobody's state is touched by somebody else's mistake."""
    stand = Stand()
    stand.begin_round()
    stand.submit(job_file(num_rounds=9))
    fault = JobFault(key="training_id", problem="another job is named so")
    stand.hear(REPOSITORY, JobRefused(job=JOB, faults=(fault,)))
    assert not stand.answer()["accepted"]
    assert ("open", JOB) in stand.asks


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        (b"{", {""}),
        (b"{}", {"training_id", "model_name", "num_rounds"}),
        (b" " * (256 * 1024 + 1), {""}),
        (
            job_file(plugins={"aggregator": "median", "selector": "rested"}),
            {"plugins.aggregator", "plugins.selector"},
        ),
        (
            job_file(num_rounds=0, plugins={"aggregator": "median", "selector": 7}),
            {"num_rounds", "plugins.aggregator", "plugins.selector"},
        ),
    ],
    ids=["no JSON", "keys missing", "too large", "plug-ins missing", "of both kinds"],
)
def test_a_wrong_job_is_refused_with_every_fault(file: bytes, keys: set[str]) -> None:
    """Each names its key; the repository hears nothing of it."""
    stand = Stand()
    stand.lead()
    stand.submit(file)
    assert {fault["key"] for fault in stand.answer()["faults"]} == keys
    assert stand.asks == {}
    stand.submit(file, None)
    assert stand.replies() == []
    assert len(stand.noted("job_refused")) == 2


@pytest.mark.parametrize("payload", [b"job-1", b' "job-1" ', b'{"job": "job-1"}'])
def test_a_job_is_cancelled_by_its_id(payload: bytes) -> None:
    """Bare, as JSON, or in an object; the answer comes once the end is stored."""
    stand = Stand()
    stand.begin_round()
    stand.cancel(payload)
    assert stand.replies() == []
    end = stand.asked(("end", JOB), EndJob)
    assert (end.phase, end.reason) == ("cancelled", "cancelled by a user")
    stand.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason=end.reason))
    assert stand.answer() == {"job": JOB, "cancelled": True}


def test_who_cancels_a_job_twice_is_told_the_same_twice() -> None:
    """The first answer may have been lost; that it is cancelled holds for both."""
    stand = Stand()
    stand.begin_round()
    stand.cancel()
    stand.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="cancelled by a user"))
    first = stand.answer()
    stand.cancel()
    assert stand.answer() == first == {"job": JOB, "cancelled": True}


def test_who_cancels_a_job_that_ended_otherwise_is_told_so() -> None:
    """How it ended first is how it ended."""
    stand = Stand()
    stand.begin_round()
    stand.cancel()
    stand.cancel()
    stand.cancel(reply=None)
    stand.hear(REPOSITORY, JobEnded(job=JOB, phase="finished", reason="all rounds are done"))
    answer = stand.answer()
    assert not answer["cancelled"]
    assert answer["reason"] == "it has already finished: all rounds are done"
    stand.cancel()
    assert stand.answer() == answer


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"job-9", "no running job of this id; running: none"),
        (b'["job-1"]', "not a job's id; send it bare, or as a JSON string"),
        (b'{"job": 7}', "not a job's id; send it bare, or as a JSON string"),
        (b"\xff/#", "not a job's id; send it bare, or as a JSON string"),
    ],
)
def test_what_cannot_be_cancelled_is_answered_at_once(payload: bytes, reason: str) -> None:
    """With the reason; in silence where no answer is wanted."""
    stand = Stand()
    stand.lead()
    stand.cancel(payload)
    assert stand.answer()["reason"] == reason
    stand.cancel(payload, None)
    assert stand.last == []


def test_a_job_that_is_not_loaded_yet_cannot_be_cancelled_yet() -> None:
    """It would be a lie to say that it does not run."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file())
    stand.cancel()
    assert stand.answer()["reason"] == "not known to run yet; try again in a moment"
    stand.hear(REPOSITORY, STORED)
    stand.cancel()
    assert stand.answer()["reason"] == "not known to run yet; try again in a moment"
