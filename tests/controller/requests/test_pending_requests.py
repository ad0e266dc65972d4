"""Replies to submissions and cancellations: only what the repository has stored."""

import json
from dataclasses import replace

import pytest

from fedbus.core.actions import Clear
from fedbus.core.events import ReplyTo
from fedbus.errors import PluginError
from fedbus.jobs import JobFile, JobFileError, parse
from fedbus.runtime.public_topics import packet_of
from fedbus.training.params import PluginChoice
from fedbus.wire.documents import JobState
from fedbus.wire.messages import (
    Acceptance,
    EndJob,
    ForgetJob,
    JobEnded,
    JobFault,
    JobFileRefused,
    JobForgotten,
    JobsListed,
    LeaseHeld,
    LoadJob,
    StoreJob,
)
from fedbus.wire.strategies import Strategy
from fedbus_controller import keys
from fedbus_controller.requests.job_files import resolved_strategy
from tests.controller.harness import (
    EVALUATOR,
    JOB,
    REPOSITORY,
    A,
    B,
    Harness,
    accepted,
    facts,
    job_file,
    loaded,
)

STORED = accepted()


def only_job_stored(harness: Harness) -> str:
    """Return the id of the one job that the repository is asked to store."""
    (key,) = harness.asks
    assert isinstance(key, keys.JobStorage)
    return key.job


def test_a_job_is_accepted_once_it_is_stored() -> None:
    """Not before; then it begins, without another request to the repository."""
    harness = Harness()
    harness.lead()
    harness.introduce(A, B)
    harness.submit(job_file())
    assert harness.replies() == []
    store = harness.asked(keys.JobStorage(JOB), StoreJob)
    assert (store.model, store.file) == ("digits", job_file())
    harness.receive(REPOSITORY, STORED)
    assert harness.answer() == {"accepted": True, "job": JOB, "watch": f"jobs/{JOB}/state"}
    assert keys.JobStorage(JOB) not in harness.asks
    assert harness.asks == {}
    assert [note["job"] for note in harness.noted("job_started")] == [JOB]


def test_the_repository_is_told_the_resolved_strategy() -> None:
    """It compares it with that of the latest version, and alone knows which job made that."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file(strategy={"parameters": {"weighted": False}, "continue_state": True}))
    store = harness.asked(keys.JobStorage(JOB), StoreJob)
    assert store.continue_state
    assert store.strategy is not None
    assert store.strategy.aggregator == PluginChoice(id="mean", parameters={"weighted": False})


def test_a_strategy_that_fails_after_the_checks_is_a_fault_of_the_file() -> None:
    """A third-party factory is called again, and may raise then."""

    def resolve(_: JobFile) -> Strategy:
        raise PluginError("out of luck")

    with pytest.raises(JobFileError, match="strategy: out of luck"):
        resolved_strategy(parse(job_file()), resolve)


@pytest.mark.parametrize("evaluators", [(), (EVALUATOR,)], ids=["none", "one"])
def test_a_target_without_an_evaluator_gets_a_warning(evaluators: tuple[str, ...]) -> None:
    """The agents' metrics on their training data would end the job."""
    harness = Harness()
    harness.lead()
    harness.introduce(A, B, *evaluators)
    harness.submit(job_file(stopping_target={"accuracy": 0.9}))
    harness.receive(REPOSITORY, STORED)
    answer = harness.answer()
    assert answer["accepted"]
    if evaluators:
        assert "warnings" not in answer
    else:
        (warning,) = answer["warnings"]
        assert warning.startswith("stopping_target accuracy: no evaluator is online")
        assert harness.noted("job_warned")[0]["warning"] == warning


@pytest.mark.parametrize(
    ("fleet", "there"),
    [((), "0 are online"), ((A,), "1 is online"), ((A, B), "")],
    ids=["none", "one", "the quorum"],
)
def test_a_job_that_must_wait_for_agents_gets_a_warning(fleet: tuple[str, ...], there: str) -> None:
    """Otherwise it is accepted, and does not begin, without a message."""
    harness = Harness()
    harness.lead()
    harness.introduce(*fleet)
    harness.submit(job_file())
    harness.receive(REPOSITORY, STORED)
    warning = (
        f"waiting for agents: {there}, 3 wanted, 2 needed (round.agents and round.quorum); the job "
        "begins when they are online"
    )
    assert harness.answer().get("warnings", []) == ([warning] if there else [])


def test_a_metric_that_no_agent_can_measure_gets_a_warning() -> None:
    """It would be missing from every round, without a message."""
    harness = Harness()
    harness.lead()
    for node, role in ((EVALUATOR, "evaluate"), (A, "train"), (B, "train")):
        harness.introduce_as(node, replace(facts(role), trainers=("tflite",)))
    harness.submit(job_file(eval_metrics=["accuracy", "auc"]))
    harness.receive(REPOSITORY, STORED)
    (warning,) = harness.answer()["warnings"]
    assert warning.startswith("eval_metrics 'auc': no agent that is online can measure it: keras")
    assert harness.noted("job_warned")[0]["warning"] == warning


def test_warnings_of_the_repository_are_in_the_reply() -> None:
    """Only the repository has read the model's spec."""
    harness = Harness()
    harness.lead()
    harness.introduce(A, B, EVALUATOR)
    harness.submit(job_file())
    harness.receive(REPOSITORY, accepted(warnings=("eval_func mse trains quantities",)))
    assert harness.answer()["warnings"] == ["eval_func mse trains quantities"]


def test_the_reply_about_a_known_job_contains_its_state() -> None:
    """No new job will run, and the user should not wait for one."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file())
    known = accepted(
        known=True,
        phase="finished",
        reason="all 2 rounds are done",
        rounds=2,
        metrics={"accuracy": 0.91922, "train_accuracy": 1.0},
        submitted="2026-11-29T08:53:28.120Z",
        ended="2026-11-29T08:54:00.000Z",
    )
    harness.receive(REPOSITORY, known)
    answer = harness.answer()
    assert (answer["accepted"], answer["known"], answer["phase"]) == (True, True, "finished")
    assert (answer["submitted"], answer["ended"]) == (known.submitted, known.ended)
    assert answer["note"] == (
        "the same job has finished already at 2026-11-29T08:54:00.000Z after 2 rounds with "
        "accuracy 0.9192 (all 2 rounds are done); nothing runs: to train again, send the file with "
        "another training_id, or with none"
    )
    harness.submit(job_file())
    harness.receive(REPOSITORY, accepted(known=True, submitted="2026-11-29T08:53:28.120Z"))
    assert harness.answer()["note"] == (
        "the same job was submitted at 2026-11-29T08:53:28.120Z and goes on: 0 rounds are done"
    )


def test_a_file_without_an_id_is_given_one() -> None:
    """The reply contains it; sent again, to any controller, it is the same job."""
    file = job_file(training_id=None)
    jobs = set()
    for harness in (Harness(), Harness()):
        harness.lead()
        harness.submit(file)
        harness.submit(file)
        job = only_job_stored(harness)
        harness.receive(REPOSITORY, accepted(job=job))
        assert harness.answer()["job"] == job
        jobs.add(job)
    assert len(jobs) == 1


def test_a_file_without_id_and_correlation_data_has_an_origin() -> None:
    """The repository finds a stored job by its origin; the id is only proposed."""
    place = "fedbus/v1/replies/me"
    asked: list[StoreJob] = []
    for topic, more in ((place, {}), (place, {}), (None, {}), (place, {"num_rounds": 9})):
        harness = Harness()
        harness.lead()
        reply = None if topic is None else ReplyTo(topic, None, None)
        harness.submit(job_file(training_id=None, **more), reply, redelivered=topic is None)
        job = only_job_stored(harness)
        asked.append(harness.asked(keys.JobStorage(job), StoreJob))
    origins = [each.origin for each in asked]
    assert origins[0] == origins[1]
    assert len({*origins}) == 3
    assert None not in origins
    assert [each.redelivered for each in asked] == [False, False, True, False]
    harness = Harness()
    harness.lead()
    harness.submit(job_file())
    assert harness.asked(keys.JobStorage(JOB), StoreJob).origin is None


def test_a_job_stored_under_another_id_is_the_reply_to_a_proposed_one() -> None:
    """An earlier controller had it stored; it is loaded if it runs, and only then."""
    harness = Harness()
    harness.lead()
    uncorrelated = ReplyTo("fedbus/v1/replies/me", None, None)
    harness.submit(job_file(training_id=None), uncorrelated, receipt=4)
    proposed = only_job_stored(harness)
    harness.receive(REPOSITORY, accepted(known=True, proposed=proposed))
    (reply,) = harness.replies()
    said = json.loads(reply.payload)
    assert (said["job"], said["known"]) == (JOB, True)
    assert harness.settled() == [4]
    assert harness.asks == {}
    assert [note["job"] for note in harness.noted("job_started")] == [JOB]
    harness.receive(REPOSITORY, accepted(known=True, proposed=proposed))
    assert harness.last == []


def test_a_proposed_id_stays_the_same_however_often_it_is_asked_for() -> None:
    """The repository may have stored the job, and been killed before it answered."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file(training_id=None), None, receipt=4)
    proposed = only_job_stored(harness)
    harness.renews = False
    harness.wait(6.0)
    harness.receive(REPOSITORY, LeaseHeld(holder="controller.2", seconds=1.0))
    assert harness.settled() == []
    harness.wait(1.0)
    harness.lead(epoch=3)
    again = harness.asked(keys.JobStorage(proposed), StoreJob)
    assert (again.epoch, again.job) == (3, proposed)


def test_a_job_that_is_being_stored_begins_once_its_request_is_settled() -> None:
    """A plan shows the repository that the broker has deleted the request."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file(), receipt=4)
    harness.receive(REPOSITORY, JobsListed(jobs=(JOB, "other")))
    assert set(harness.asks) == {keys.JobStorage(JOB), keys.JobLoading("other")}
    harness.receive(REPOSITORY, STORED)
    assert harness.settled() == [4]
    assert set(harness.asks) == {keys.JobLoading("other")}
    assert [note["job"] for note in harness.noted("job_started")] == [JOB]


def test_the_same_file_in_other_bytes_is_the_same_job_while_it_is_stored() -> None:
    """Two clients may write one file differently."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file())
    harness.submit(job_file() + b"\n", ReplyTo("fedbus/v1/replies/other", b"8", None))
    harness.receive(REPOSITORY, STORED)
    assert len(harness.replies()) == 2


@pytest.mark.parametrize("payload", [b"job-1", b'"job-1"', b'{"job": "job-1"}'])
def test_an_ended_job_is_forgotten(payload: bytes) -> None:
    """Then no document of it is retained, or announced after a reconnect."""
    harness = Harness()
    ended = replace(loaded(), phase="finished", rounds=2, ended="2026-11-29T08:54:00.000Z")
    harness.begin(ended)
    assert harness.state_now().phase == "finished"
    harness.forget(payload)
    assert harness.asked(keys.JobRemoval(JOB), ForgetJob).job == JOB
    assert harness.replies() == []
    harness.receive(REPOSITORY, JobForgotten(job=JOB, rounds=2))
    cleared = [packet_of(act, "r").topic for act in harness.last if isinstance(act, Clear)]
    assert cleared == ["r/jobs/job-1/rounds/1", "r/jobs/job-1/rounds/2", "r/jobs/job-1/state"]
    assert harness.answer() == {"job": JOB, "forgotten": True}
    harness.tell_states()
    assert harness.sent(JobState) == []
    harness.receive(REPOSITORY, JobForgotten(job=JOB, rounds=2))
    assert harness.last == []


def test_an_answer_from_before_a_job_was_forgotten_does_not_announce_it_again() -> None:
    """A cancelled job is loaded once more; the user has it forgotten before the answer arrives."""
    harness = Harness()
    harness.begin_round()
    harness.cancel(JOB.encode())
    at = "2026-11-29T08:54:00.000Z"
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="by a user", at=at))
    assert harness.asked(keys.JobLoading(JOB), LoadJob).job == JOB
    harness.forget(JOB.encode())
    harness.receive(REPOSITORY, JobForgotten(job=JOB))
    assert keys.JobLoading(JOB) not in harness.asks
    harness.receive(REPOSITORY, replace(loaded(), phase="cancelled", ended=at))
    assert harness.last == []
    harness.tell_states()
    assert harness.sent(JobState) == []


@pytest.mark.parametrize("resubmitted", [False, True])
def test_a_job_that_is_loaded_after_it_was_forgotten_is_not_announced(*, resubmitted: bool) -> None:
    """It was listed a moment before, or its file is submitted again: the reply tells its end."""
    harness = Harness()
    harness.lead(jobs=() if resubmitted else (JOB,))
    at = "2026-11-29T08:54:00.000Z"
    ended = replace(loaded(), phase="finished", ended=at, forgotten=True)
    if resubmitted:
        harness.submit(job_file())
        ended = replace(ended, acceptance=Acceptance(known=True))
    harness.receive(REPOSITORY, ended)
    assert harness.asks == {}
    assert harness.sent(JobState) == []
    if resubmitted:
        assert harness.answer()["phase"] == "finished"


def test_a_job_that_cannot_be_forgotten_is_kept() -> None:
    """It runs, it is unknown, or the request contains no id."""
    harness = Harness()
    harness.begin_round()
    harness.forget(JOB.encode())
    harness.receive(REPOSITORY, JobForgotten(job=JOB, reason="it runs"))
    assert harness.answer() == {"job": JOB, "forgotten": False, "reason": "it runs"}
    assert harness.state_now().phase == "running"
    harness.forget(b"no id")
    assert "not a job's id" in harness.answer()["reason"]
    harness.forget(b"no id", None)
    assert harness.last == []


def test_a_job_sent_twice_gets_one_reply() -> None:
    """A request without a reply topic is stored, too."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file())
    harness.submit(job_file())
    harness.submit(job_file(), None)
    harness.receive(REPOSITORY, STORED)
    assert harness.answer()["accepted"]
    harness.receive(REPOSITORY, STORED)
    assert harness.last == []


def test_other_bytes_under_an_id_that_is_being_stored_are_refused_at_once() -> None:
    """The repository's answer will be about the first file."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file())
    harness.submit(job_file(num_rounds=9))
    assert "another job file" in harness.answer()["faults"][0]["problem"]
    assert harness.asked(keys.JobStorage(JOB), StoreJob).file == job_file()
    harness.submit(job_file(num_rounds=9), None)
    assert harness.replies() == []


def test_a_refusal_of_the_repository_is_passed_on_with_its_reason() -> None:
    """The repository is not asked again."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file())
    fault = JobFault(key="model_name", problem="no model named 'digits'", hint="push one")
    harness.receive(REPOSITORY, JobFileRefused(job=JOB, faults=(fault,)))
    answer = harness.answer()
    assert (answer["accepted"], answer["job"]) == (False, JOB)
    assert answer["faults"] == [
        {"key": "model_name", "problem": "no model named 'digits'", "hint": "push one"}
    ]
    assert harness.asks == {}


def test_a_refusal_of_other_bytes_does_not_touch_the_job_that_runs() -> None:
    """The document of a job is independent of another client's mistakes."""
    harness = Harness()
    harness.begin_round()
    harness.submit(job_file(num_rounds=9))
    fault = JobFault(key="training_id", problem="another job is named so")
    harness.receive(REPOSITORY, JobFileRefused(job=JOB, faults=(fault,)))
    assert not harness.answer()["accepted"]
    assert keys.RoundOpening(JOB) in harness.asks


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
    """Each fault names its key; the repository gets no message."""
    harness = Harness()
    harness.lead()
    harness.submit(file)
    assert {fault["key"] for fault in harness.answer()["faults"]} == keys
    assert harness.asks == {}
    harness.submit(file, None)
    assert harness.replies() == []
    assert len(harness.noted("job_refused")) == 2


@pytest.mark.parametrize("payload", [b"job-1", b' "job-1" ', b'{"job": "job-1"}'])
def test_a_job_is_cancelled_by_its_id(payload: bytes) -> None:
    """Bare, as JSON, or in an object; the answer comes once the end is stored."""
    harness = Harness()
    harness.begin_round()
    harness.cancel(payload)
    assert harness.replies() == []
    end = harness.asked(keys.JobEnding(JOB), EndJob)
    assert (end.phase, end.reason) == ("cancelled", "cancelled by a user")
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason=end.reason))
    assert harness.answer() == {"job": JOB, "cancelled": True}


def test_two_cancellations_of_a_job_get_the_same_reply() -> None:
    """The first reply may have been lost."""
    harness = Harness()
    harness.begin_round()
    harness.cancel()
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="cancelled by a user"))
    first = harness.answer()
    harness.cancel()
    assert harness.answer() == first == {"job": JOB, "cancelled": True}


def test_the_reply_to_a_late_cancellation_tells_how_the_job_ended() -> None:
    """The first end of a job counts."""
    harness = Harness()
    harness.begin_round()
    harness.cancel()
    harness.cancel()
    harness.cancel(reply=None)
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="finished", reason="all rounds are done"))
    answer = harness.answer()
    assert not answer["cancelled"]
    assert answer["reason"] == "it has already finished: all rounds are done"
    harness.cancel()
    assert harness.answer() == answer


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"job-9", "no running job of this id; running: none"),
        (b'["job-1"]', "not a job's id; send it bare, or as a JSON string"),
        (b'{"job": 7}', "not a job's id; send it bare, or as a JSON string"),
        (b"\xff/#", "not a job's id; send it bare, or as a JSON string"),
    ],
)
def test_a_cancellation_that_cannot_succeed_is_answered_at_once(
    payload: bytes, reason: str
) -> None:
    """With the reason, if there is a reply topic."""
    harness = Harness()
    harness.lead()
    harness.cancel(payload)
    assert harness.answer()["reason"].startswith(reason)
    harness.cancel(payload, None)
    assert harness.replies() == []
    assert harness.noted("cancel_refused")[-1]["reason"].startswith(reason)


def test_a_job_that_is_not_loaded_yet_is_cancelled_once_it_is() -> None:
    """The job may run, and the client may not repeat its request."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file())
    harness.cancel()
    harness.receive(REPOSITORY, STORED)
    assert not any(b"cancelled" in reply.payload for reply in harness.replies())
    harness.receive(REPOSITORY, loaded())
    assert harness.asked(keys.JobEnding(JOB), EndJob).phase == "cancelled"
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="cancelled by a user"))
    assert harness.answer() == {"job": JOB, "cancelled": True}


class UnreadableError(Exception):
    """An error of a plug-in that cannot be shown."""

    def __str__(self) -> str:
        """Raise instead of a text."""
        raise RuntimeError


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (TypeError("'>=' not supported"), "'>=' not supported"),
        (SystemExit(3), "it called sys.exit: 3"),
        (UnreadableError(), "UnreadableError, whose text cannot be read"),
    ],
)
def test_a_file_whose_check_raises_anything_is_refused(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException, said: str
) -> None:
    """Otherwise the broker would deliver it to the next controller, which would end as well."""

    def check(_job: JobFile, *, complete: bool) -> list[JobFault]:  # noqa: ARG001 - as `ExtraChecks`
        raise raised

    monkeypatch.setattr("tests.controller.harness.check_plugins", check)
    harness = Harness()
    harness.lead()
    harness.submit(job_file())
    assert harness.answer()["faults"] == [
        {"key": "", "problem": f"it cannot be checked: {said}", "hint": ""}
    ]
    assert harness.noted("job_refused")
