"""Standalone jobs: begun, trained round by round, stopped, remembered; nobody waits for nobody."""

import json
from dataclasses import replace
from typing import Any

import pytest

from fedbus.core.actions import Note, Run
from fedbus.errors import Stopped, TrainingError
from fedbus.jobs import JobFile, parse
from fedbus_edge_agent import keys
from fedbus_edge_agent.standalone.jobs import (
    MAX_KEPT_REPORTS,
    MAX_REPORTED_ROUNDS,
    MAX_WAITING,
    Alone,
    Learnt,
    Lesson,
    StartJob,
)
from fedbus_edge_agent.standalone.schemas import JobReport
from fedbus_edge_agent.training.cancellation import Flag

GOOD = Learnt(40, {"loss": 0.5, "accuracy": 0.75})


def job_file(job: str = "solo-1", rounds: int = 2, **more: Any) -> JobFile:  # noqa: ANN401 - any key
    """Read a job file."""
    plain = {"training_id": job, "model_name": "digits", "num_rounds": rounds, **more}
    return parse(json.dumps(plain).encode())


def begun(alone: Alone, *jobs: JobFile) -> Alone:
    """Begin jobs."""
    for file in jobs:
        list(alone.start(StartJob(file, "1")))
    return alone


def report_of(alone: Alone, job: str = "solo-1") -> JobReport:
    """Ask how a job stands."""
    report = alone.report(job)
    assert report is not None
    return report


def lesson_of(alone: Alone) -> tuple[keys.StandaloneWork, Flag]:
    """Let the worker take the next lesson."""
    taken = alone.next()
    assert taken is not None
    key, flag, _, note = taken
    assert isinstance(note, Run)
    return key, flag


def test_a_job_is_trained_round_by_round() -> None:
    """Each note is written; the last round ends it."""
    done: list[tuple[Lesson, Flag]] = []
    noted: list[JobReport] = []

    def learn(lesson: Lesson, flag: Flag) -> Learnt:
        done.append((lesson, flag))
        return GOOD

    alone = Alone(learn, noted.append)
    said = list(alone.start(StartJob(job_file(batch := "solo-1"), "7")))
    assert said[0] == Note("job_started", {"job": batch, "model": "digits"})
    assert report_of(alone).phase == "WAITING"
    for number in (1, 2):
        taken = alone.next()
        assert taken is not None
        key, flag, call, note = taken
        assert key == keys.StandaloneWork("solo-1", number)
        assert report_of(alone).phase == "TRAINING"
        assert isinstance(note, Run)
        note.call()
        for action in alone.learnt(key, call()):
            if isinstance(action, Run):
                action.call()
        assert done[-1][1] is flag
    lessons = [lesson for lesson, _ in done]
    assert [(each.model, each.version, each.round) for each in lessons] == [
        ("digits", "7", 1),
        ("digits", "7", 2),
    ]
    assert lessons[0].params.seed != lessons[1].params.seed
    report = report_of(alone)
    assert (report.phase, report.reason) == ("FINISHED", "all 2 rounds are done")
    assert (report.round, report.progress, report.examples) == (2, 1.0, 40)
    own = {"train_loss": 0.5, "train_accuracy": 0.75}  # of the data it trained on
    assert (report.metrics, report.rounds) == (own, (own, own))
    assert report.weights == "/job/result/solo-1/weights"
    assert [each.phase for each in noted] == ["TRAINING", "TRAINING", "TRAINING", "FINISHED"]
    assert alone.under_way() == []
    assert alone.next() is None


def test_a_job_ends_at_its_target() -> None:
    """Before its last round."""
    alone = begun(Alone(), job_file(rounds=9, stopping_target={"accuracy": 0.7}))
    key, _ = lesson_of(alone)
    list(alone.learnt(key, GOOD))
    assert report_of(alone).reason.startswith("train_accuracy 0.75, at least 0.7 was asked of acc")
    assert report_of(alone).phase == "FINISHED"


def test_progress_is_that_of_all_rounds() -> None:
    """Rounds that are done, and how much of the one under way."""
    alone = begun(Alone(), job_file(rounds=4))
    assert report_of(alone).progress == 0.0
    key, _ = lesson_of(alone)
    list(alone.learnt(key, GOOD))
    assert report_of(alone).progress == 0.25
    _, flag = lesson_of(alone)

    class Half:
        progress = 0.5

    flag.data = Half()  # type: ignore[assignment]
    assert report_of(alone).progress == pytest.approx(0.375)


def test_jobs_take_turns() -> None:
    """After each round another one's."""
    alone = begun(Alone(), job_file("a"), job_file("b"))
    order = []
    for _ in range(4):
        key, _ = lesson_of(alone)
        order.append((key.job, key.number))
        list(alone.learnt(key, GOOD))
    assert order == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_a_job_that_trains_is_stopped_at_its_next_batch() -> None:
    """At once for whoever asks; what its thread makes meanwhile is not counted."""
    alone = begun(Alone(), job_file())
    key, flag = lesson_of(alone)
    list(alone.cancel("solo-1"))
    assert flag.stopped
    assert (report_of(alone).phase, report_of(alone).reason) == (
        "INTERRUPTED",
        "stopped by a user",
    )
    assert list(alone.learnt(key, GOOD)) == []
    assert report_of(alone).round == 0
    assert list(alone.cancel("solo-1")) == []
    assert list(alone.cancel("nobody")) == []


def test_a_job_that_waits_is_stopped_without_harm_to_the_one_that_trains() -> None:
    """Its flag is its own."""
    alone = begun(Alone(), job_file("a"), job_file("b"))
    _, flag = lesson_of(alone)
    list(alone.cancel("b"))
    assert not flag.stopped
    assert alone.under_way() == ["a"]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (TrainingError("the loss became nan"), "the loss became nan"),
        (ValueError("bad rows"), "ValueError: bad rows"),
        (None, "nothing learnt"),
    ],
)
def test_a_round_that_fails_ends_its_job_with_the_reason(result: object, reason: str) -> None:
    """And the next job goes on."""
    alone = begun(Alone(), job_file("a"), job_file("b"))
    key, _ = lesson_of(alone)
    list(alone.learnt(key, result))
    assert (report_of(alone, "a").phase, report_of(alone, "a").reason) == ("FAILED", reason)
    assert lesson_of(alone)[0] == keys.StandaloneWork("b", 1)


def test_a_process_that_leaves_stops_its_lesson_and_says_nothing() -> None:
    """The next life finds the job interrupted."""
    alone = begun(Alone(), job_file())
    alone.leave()
    key, flag = lesson_of(alone)
    alone.leave()
    assert flag.stopped
    assert list(alone.learnt(key, Stopped("asked to"))) == []
    left = report_of(alone)
    assert left.phase == "TRAINING"
    again = Alone(remembered=[left, replace(left, training_id="done", phase="FINISHED")])
    assert report_of(again).phase == "INTERRUPTED"
    assert report_of(again).reason == "the agent was restarted meanwhile"
    assert report_of(again, "done").phase == "FINISHED"
    assert again.under_way() == []


def test_an_agent_in_trouble_gives_all_jobs_up() -> None:
    """With what the trouble is."""
    alone = begun(Alone(), job_file("a"), job_file("b"))
    lesson_of(alone)
    list(alone.give_up("training hangs"))
    assert [report_of(alone, job).reason for job in "ab"] == ["training hangs"] * 2
    assert {report_of(alone, job).phase for job in "ab"} == {"FAILED"}


def test_only_so_many_jobs_wait_and_none_twice() -> None:
    """Whoever comes later is told so."""
    alone = begun(Alone(), *(job_file(f"j{n}") for n in range(MAX_WAITING - 1)))
    assert alone.refusal("new") is None
    assert alone.refusal("j3") == "there is a job j3 already; give this one another id"
    begun(alone, job_file("last"))
    assert alone.refusal("new") == "16 jobs wait already; stop one, or come back later"


def test_only_so_many_jobs_and_rounds_are_remembered() -> None:
    """The oldest that are over go first; none that waits."""
    alone = begun(Alone(), job_file("waits"))
    for number in range(MAX_KEPT_REPORTS):
        begun(alone, job_file(f"j{number}"))
        list(alone.cancel(f"j{number}"))
    assert alone.report("waits") is not None
    assert alone.report("j0") is None
    assert alone.report("j1") is not None
    long = begun(Alone(), job_file(rounds=MAX_REPORTED_ROUNDS + 5))
    for _ in range(MAX_REPORTED_ROUNDS + 2):
        key, _ = lesson_of(long)
        list(long.learnt(key, GOOD))
    assert len(report_of(long).rounds) == MAX_REPORTED_ROUNDS
    assert report_of(long).round == MAX_REPORTED_ROUNDS + 2


def test_where_no_door_is_open_nothing_is_learnt() -> None:
    """What stands in does nothing."""
    alone = begun(Alone(), job_file())
    taken = alone.next()
    assert taken is not None
    assert taken[2]() is None


def test_what_a_file_says_of_others_is_named_and_ignored() -> None:
    """The same file may be a fleet's; what this agent does heed is not named."""
    said: dict[str, Any] = {
        "round": {"quorum": 2, "agents": 3, "keep_optimizer_state": True, "deadline_seconds": None},
        "plugins": {"selector": "nobodys", "trainer": "tflite"},
    }
    alone = begun(Alone(), job_file(**said), job_file("plain"))
    assert report_of(alone).ignored == ("plugins.selector", "round.agents", "round.quorum")
    assert report_of(alone, "plain").ignored == ()
