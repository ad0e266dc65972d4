"""What people hear who submit or cancel a job: nothing that is not stored."""

import json
from dataclasses import replace

import pytest

from fedbus.core.actions import Clear
from fedbus.core.events import ReplyTo
from fedbus.runtime.public_topics import packet_of
from fedbus.wire.documents import JobState
from fedbus.wire.messages import (
    EndJob,
    ForgetJob,
    JobEnded,
    JobFault,
    JobForgotten,
    JobRefused,
    JobsListed,
    LeaseHeld,
    StoreJob,
)
from fedbus_controller import keys
from tests.controller.stand import (
    JOB,
    JUDGE,
    REPOSITORY,
    A,
    B,
    Stand,
    accepted,
    facts,
    job_file,
    loaded,
)

STORED = accepted()


def only_job_stored(stand: Stand) -> str:
    """Return the id of the one job that the repository is asked to store."""
    (key,) = stand.asks
    assert isinstance(key, keys.JobStorage)
    return key.job


def test_a_job_is_accepted_once_it_is_stored() -> None:
    """Not before; and then it begins, with no other question to the repository."""
    stand = Stand()
    stand.lead()
    stand.introduce(A, B)
    stand.submit(job_file())
    assert stand.replies() == []
    store = stand.asked(keys.JobStorage(JOB), StoreJob)
    assert (store.model, store.file) == ("digits", job_file())
    stand.hear(REPOSITORY, STORED)
    assert stand.answer() == {"accepted": True, "job": JOB, "watch": f"jobs/{JOB}/state"}
    assert keys.JobStorage(JOB) not in stand.asks
    assert stand.asks == {}
    assert [note["job"] for note in stand.noted("job_begun")] == [JOB]


@pytest.mark.parametrize("judges", [(), (JUDGE,)], ids=["none", "one"])
def test_a_target_that_nobody_can_judge_is_warned_of(judges: tuple[str, ...]) -> None:
    """What ends the job would be the agents' own figures of what they trained on."""
    stand = Stand()
    stand.lead()
    stand.introduce(A, B, *judges)
    stand.submit(job_file(stopping_target={"accuracy": 0.9}))
    stand.hear(REPOSITORY, STORED)
    answer = stand.answer()
    assert answer["accepted"]
    if judges:
        assert "warnings" not in answer
    else:
        (warning,) = answer["warnings"]
        assert warning.startswith("stopping_target accuracy: no evaluator is online")
        assert stand.noted("job_warned")[0]["warning"] == warning


@pytest.mark.parametrize(
    ("fleet", "there"),
    [((), "0 are online"), ((A,), "1 is online"), ((A, B), "")],
    ids=["nobody", "one", "the quorum"],
)
def test_a_job_that_must_wait_for_agents_is_warned_of(fleet: tuple[str, ...], there: str) -> None:
    """It was accepted, and then nothing was heard of it."""
    stand = Stand()
    stand.lead()
    stand.introduce(*fleet)
    stand.submit(job_file())
    stand.hear(REPOSITORY, STORED)
    warning = (
        f"waiting for agents: {there}, 3 wanted, 2 needed (round.agents and round.quorum); the job "
        "begins when they are there"
    )
    assert stand.answer().get("warnings", []) == ([warning] if there else [])


def test_a_metric_that_no_agent_can_measure_is_warned_of() -> None:
    """Its figure would be missing from every round without a word."""
    stand = Stand()
    stand.lead()
    for node, role in ((JUDGE, "evaluate"), (A, "train"), (B, "train")):
        stand.introduce_as(node, replace(facts(role), trainers=("tflite",)))
    stand.submit(job_file(eval_metrics=["accuracy", "auc"]))
    stand.hear(REPOSITORY, STORED)
    (warning,) = stand.answer()["warnings"]
    assert warning.startswith("eval_metrics 'auc': no agent that is online can measure it: keras")
    assert stand.noted("job_warned")[0]["warning"] == warning


def test_what_the_repository_warns_of_reaches_who_submitted() -> None:
    """It alone has read the model's spec."""
    stand = Stand()
    stand.lead()
    stand.introduce(A, B, JUDGE)
    stand.submit(job_file())
    stand.hear(REPOSITORY, accepted(warnings=("eval_func mse trains quantities",)))
    assert stand.answer()["warnings"] == ["eval_func mse trains quantities"]


def test_a_job_that_was_here_before_is_answered_with_how_it_stands() -> None:
    """Nothing will run, and nobody should wait for it."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file())
    known = accepted(
        known=True,
        phase="finished",
        reason="all 2 rounds are done",
        rounds=2,
        metrics={"accuracy": 0.91922, "train_accuracy": 1.0},
        submitted="2026-11-29T08:53:28.120Z",
        ended="2026-11-29T08:54:00.000Z",
    )
    stand.hear(REPOSITORY, known)
    answer = stand.answer()
    assert (answer["accepted"], answer["known"], answer["phase"]) == (True, True, "finished")
    assert (answer["submitted"], answer["ended"]) == (known.submitted, known.ended)
    assert answer["note"] == (
        "the same job has finished already at 2026-11-29T08:54:00.000Z after 2 rounds with "
        "accuracy 0.9192 (all 2 rounds are done); nothing runs: to train again, send the file with "
        "another training_id, or with none"
    )
    stand.submit(job_file())
    stand.hear(REPOSITORY, accepted(known=True, submitted="2026-11-29T08:53:28.120Z"))
    assert stand.answer()["note"] == (
        "the same job was submitted at 2026-11-29T08:53:28.120Z and goes on: 0 rounds are done"
    )


def test_a_file_without_an_id_is_given_one() -> None:
    """Its sender is told; sent again, to whichever controller, it is the same job."""
    file = job_file(training_id=None)
    jobs = set()
    for stand in (Stand(), Stand()):
        stand.lead()
        stand.submit(file)
        stand.submit(file)
        job = only_job_stored(stand)
        stand.hear(REPOSITORY, accepted(job=job))
        assert stand.answer()["job"] == job
        jobs.add(job)
    assert len(jobs) == 1


def test_a_file_without_anything_of_its_own_is_told_apart_by_its_sender_and_its_bytes() -> None:
    """The repository knows by that whether it has the job; the id is only proposed."""
    place = "fedbus/v1/replies/me"
    asked: list[StoreJob] = []
    for topic, more in ((place, {}), (place, {}), (None, {}), (place, {"num_rounds": 9})):
        stand = Stand()
        stand.lead()
        reply = None if topic is None else ReplyTo(topic, None, None)
        stand.submit(job_file(training_id=None, **more), reply, redelivered=topic is None)
        job = only_job_stored(stand)
        asked.append(stand.asked(keys.JobStorage(job), StoreJob))
    origins = [each.origin for each in asked]
    assert origins[0] == origins[1]
    assert len({*origins}) == 3
    assert None not in origins
    assert [each.redelivered for each in asked] == [False, False, True, False]
    stand = Stand()
    stand.lead()
    stand.submit(job_file())
    assert stand.asked(keys.JobStorage(JOB), StoreJob).origin is None


def test_a_job_that_stands_under_another_id_answers_who_proposed_one() -> None:
    """An earlier controller had it stored; it is loaded if it runs, and only then."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file(training_id=None), ReplyTo("fedbus/v1/replies/me", None, None), receipt=4)
    proposed = only_job_stored(stand)
    stand.hear(REPOSITORY, accepted(known=True, proposed=proposed))
    (reply,) = stand.replies()
    said = json.loads(reply.payload)
    assert (said["job"], said["known"]) == (JOB, True)
    assert stand.settled() == [4]
    assert stand.asks == {}
    assert [note["job"] for note in stand.noted("job_begun")] == [JOB]
    stand.hear(REPOSITORY, accepted(known=True, proposed=proposed))
    assert stand.last == []


def test_a_proposed_id_stays_the_same_however_often_it_is_asked_for() -> None:
    """The repository may have stored the job, and died before it could say so."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file(training_id=None), None, receipt=4)
    proposed = only_job_stored(stand)
    stand.renews = False
    stand.wait(6.0)
    stand.hear(REPOSITORY, LeaseHeld(holder="controller.2", seconds=1.0))
    assert stand.settled() == []
    stand.wait(1.0)
    stand.lead(epoch=3)
    again = stand.asked(keys.JobStorage(proposed), StoreJob)
    assert (again.epoch, again.job) == (3, proposed)


def test_a_job_that_is_being_stored_begins_once_its_request_is_settled() -> None:
    """That a plan follows shows the repository that the broker has let go of the request."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file(), receipt=4)
    stand.hear(REPOSITORY, JobsListed(jobs=(JOB, "other")))
    assert set(stand.asks) == {keys.JobStorage(JOB), keys.JobLoading("other")}
    stand.hear(REPOSITORY, STORED)
    assert stand.settled() == [4]
    assert set(stand.asks) == {keys.JobLoading("other")}
    assert [note["job"] for note in stand.noted("job_begun")] == [JOB]


def test_the_same_file_in_other_bytes_is_the_same_job_while_it_is_stored() -> None:
    """Two clients may write one file differently."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file())
    stand.submit(job_file() + b"\n", ReplyTo("fedbus/v1/replies/other", b"8", None))
    stand.hear(REPOSITORY, STORED)
    assert len(stand.replies()) == 2


@pytest.mark.parametrize("payload", [b"job-1", b'"job-1"', b'{"job": "job-1"}'])
def test_an_ended_job_is_forgotten(payload: bytes) -> None:
    """Once the repository lists it no more: nothing is retained, nor said on reconnect."""
    stand = Stand()
    ended = replace(loaded(), phase="finished", rounds=2, ended="2026-11-29T08:54:00.000Z")
    stand.begin(ended)
    assert stand.state_now().phase == "finished"
    stand.forget(payload)
    assert stand.asked(keys.JobRemoval(JOB), ForgetJob).job == JOB
    assert stand.replies() == []
    stand.hear(REPOSITORY, JobForgotten(job=JOB, rounds=2))
    cleared = [packet_of(act, "r").topic for act in stand.last if isinstance(act, Clear)]
    assert cleared == ["r/jobs/job-1/rounds/1", "r/jobs/job-1/rounds/2", "r/jobs/job-1/state"]
    assert stand.answer() == {"job": JOB, "forgotten": True}
    stand.tell_states()
    assert stand.said(JobState) == []
    stand.hear(REPOSITORY, JobForgotten(job=JOB, rounds=2))
    assert stand.last == []


def test_a_job_that_cannot_be_forgotten_stays() -> None:
    """It runs, nobody knows it, or what was sent is no id."""
    stand = Stand()
    stand.begin_round()
    stand.forget(JOB.encode())
    stand.hear(REPOSITORY, JobForgotten(job=JOB, reason="it runs"))
    assert stand.answer() == {"job": JOB, "forgotten": False, "reason": "it runs"}
    assert stand.state_now().phase == "running"
    stand.forget(b"no id")
    assert "not a job's id" in stand.answer()["reason"]
    stand.forget(b"no id", None)
    assert stand.last == []


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
    assert stand.asked(keys.JobStorage(JOB), StoreJob).file == job_file()
    stand.submit(job_file(num_rounds=9), None)
    assert stand.replies() == []


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
    assert keys.RoundOpening(JOB) in stand.asks


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        (b"{", {""}),
        (b"{}", {"model_name", "num_rounds"}),
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
    end = stand.asked(keys.JobEnding(JOB), EndJob)
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
    assert stand.answer()["reason"].startswith(reason)
    stand.cancel(payload, None)
    assert stand.replies() == []
    assert stand.noted("cancel_refused")[-1]["reason"].startswith(reason)


def test_a_job_that_is_not_loaded_yet_is_cancelled_once_it_is() -> None:
    """It would be a lie to say that it does not run, and its asker may not ask twice."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file())
    stand.cancel()
    stand.hear(REPOSITORY, STORED)
    assert not any(b"cancelled" in reply.payload for reply in stand.replies())
    stand.hear(REPOSITORY, loaded())
    assert stand.asked(keys.JobEnding(JOB), EndJob).phase == "cancelled"
    stand.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="cancelled by a user"))
    assert stand.answer() == {"job": JOB, "cancelled": True}
