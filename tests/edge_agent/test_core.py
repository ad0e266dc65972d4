"""What an agent does with its orders: one thing at a time, and nothing twice."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedbus.actions import Connected, Introduce, Quit, Ran, Run, Stopping, Woke
from fedbus.errors import TrainingError
from fedbus.plugins import Trainer
from fedbus.spool import Spools
from fedbus.training import Structure
from fedbus.wire.messages import (
    Decline,
    Evaluated,
    EvaluateTask,
    JobStopped,
    Offer,
    Receipt,
    StaleEpoch,
    StopJob,
    TaskTaken,
    TrainTask,
)
from fedbus.wire.values import Manifest
from fedbus_edge_agent.answers import Answers
from fedbus_edge_agent.core import RECENT_SECONDS, TAKEN_SECONDS
from fedbus_edge_agent.outbox import Outbox
from fedbus_edge_agent.trainers import Trainers
from fedbus_edge_agent.work import Flag
from fedbus_edge_agent.worker import STALL_SECONDS
from tests.edge_agent.stand import (
    CARD,
    COLLECTOR,
    CONTROLLER,
    JOB,
    OTHER_COLLECTOR,
    Stand,
    card_of,
    evaluate,
    manifest_of,
    train,
    update_of,
    version,
    weights_of,
)

STORED = Receipt(job=JOB, task=1, verdict="stored")


def nobody(_structure: Structure) -> Trainer:
    """A trainer that is never made."""
    raise NotImplementedError


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """Set up an agent that has nothing to do."""
    return Stand(tmp_path)


# ── from a task to an offer ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("cut", "fetched"), [(0, 1), (1, 2)])
def test_a_small_base_that_comes_with_its_task_is_not_fetched(
    stand: Stand, cut: int, fetched: int
) -> None:
    """Unless it is not whole; the card is fetched in any case."""
    weights = weights_of(1)
    stand.hear(CONTROLLER, train(inline=weights[cut:]))
    assert len(stand.fetches) == fetched
    stand.bring()
    stand.work()
    assert stand.offered().task == 1


def test_a_task_is_taken_fetched_trained_and_offered(stand: Stand) -> None:
    """Card, weights and files first; the update rides along the first time, if it is small."""
    stand.hear(CONTROLLER, train())
    stand.wait(TAKEN_SECONDS)
    assert stand.told(CONTROLLER, TaskTaken).task == 1
    members = {fetch.members for fetch in stand.fetches.values()}
    assert (len(stand.fetches), members) == (2, {3})
    stand.bring()
    stand.work()
    offer = stand.offered()
    assert (offer.update, offer.base, offer.inline) == (manifest_of(update_of(1)), 1, None)
    ask = stand.asks["answer", JOB, 1]
    assert ask.to == COLLECTOR
    assert isinstance(ask.first, Offer)
    assert ask.first.inline == update_of(1)
    served = stand.served[offer.update.digest]
    assert served.read(0, served.size) == update_of(1)


def test_of_a_task_that_is_over_at_once_nothing_is_said(stand: Stand) -> None:
    """Its controller hears from the collector before it would ask again."""
    stand.trained()
    stand.hear(COLLECTOR, Receipt(job=JOB, task=1, verdict="stored"))
    assert ("taken", JOB, 1) not in stand.timers
    stand.hear(CONTROLLER, train())  # overtaken on its way
    assert stand.told(CONTROLLER, TaskTaken).task == 1


def test_a_large_update_does_not_ride_along(stand: Stand) -> None:
    """The collector fetches it."""
    stand.trained(train(inline_up_to=10))
    assert stand.asks["answer", JOB, 1].first is None


def test_a_small_model_that_comes_with_its_task_is_not_fetched(stand: Stand) -> None:
    """One of another size than it should be is."""
    stand.hear(CONTROLLER, train(inline=weights_of(1)))
    assert [key[-1] for key in stand.fetches] == [manifest_of(CARD).digest]
    stand.hear(CONTROLLER, train(2, base=version(2), inline=b"short"))
    stand.bring()
    stand.work()
    assert stand.bench.done == [("train", 2, weights_of(2))]


def test_what_is_held_is_not_fetched_again(stand: Stand) -> None:
    """A model's structure stays; of its weights, the last."""
    stand.trained()
    stand.hear(CONTROLLER, train(2))
    assert stand.fetches == {}
    stand.work()
    stand.hear(CONTROLLER, train(3, base=version(2)))
    assert [key[-1] for key in stand.fetches] == [version(2).weights.digest]
    assert stand.core.facts() is not None


def test_a_task_repeated_is_taken_again_by_word_only(stand: Stand) -> None:
    """The word may have been lost."""
    stand.hear(CONTROLLER, train())
    fetches = dict(stand.fetches)
    stand.hear(CONTROLLER, train())
    assert stand.told(CONTROLLER, TaskTaken).task == 1
    assert stand.fetches == fetches


def test_a_task_ordered_again_after_its_answer_is_answered_again_not_trained(
    stand: Stand,
) -> None:
    """Its collector may have been restarted: the same bytes, at once."""
    offer = stand.trained()
    stand.hear(CONTROLLER, train())
    assert stand.told(COLLECTOR, Offer) == offer
    assert stand.runs == []


@pytest.mark.parametrize("verdict", ["stored", "drop"])
def test_an_update_is_forgotten_once_its_collector_says_what_became_of_it(
    stand: Stand, verdict: str
) -> None:
    """No longer asked, served, or kept on the disk."""
    stand.trained()
    assert len(stand.files()) == 2
    stand.hear(COLLECTOR, Receipt(job=JOB, task=1, verdict=verdict))  # type: ignore[arg-type]
    stand.work()
    assert (stand.asks, stand.served, stand.files()) == ({}, {}, [])


def test_an_unknown_update_is_asked_about_again(stand: Stand) -> None:
    """The collector was restarted, or its round is still to be opened."""
    stand.trained()
    stand.hear(COLLECTOR, Receipt(job=JOB, task=1, verdict="unknown"))
    assert stand.last == []
    assert stand.offered().task == 1
    assert len(stand.files()) == 2


def test_who_orders_what_was_dealt_with_is_told_so(stand: Stand) -> None:
    """A collector that forgot the update must not wait for another."""
    stand.trained()
    stand.hear(COLLECTOR, STORED)
    stand.work()
    stand.hear(CONTROLLER, train())
    assert stand.told(COLLECTOR, Decline).reason == "its update was already dealt with"
    assert stand.runs == []
    assert stand.asks == {}


# ── tasks that overtake each other ────────────────────────────────────────────────────────────────


def test_a_newer_task_stops_the_older_one(stand: Stand) -> None:
    """What it has made meanwhile is dropped, and never offered."""
    stand.hear(CONTROLLER, train())
    stand.bring()
    (old,) = stand.runs
    result = old.call()
    stand.runs.clear()
    stand.hear(CONTROLLER, train(2))
    assert stand.runs == []  # one at a time
    stand.tell(Ran(old.key, result))
    stand.work()
    assert set(stand.asks) == {("answer", JOB, 2)}
    assert stand.files() == [f"{JOB}~2.offer", f"{JOB}~2.update"]


def test_a_newer_task_ends_the_fetches_of_the_older(stand: Stand) -> None:
    """And gives their room back."""
    stand.hear(CONTROLLER, train())
    stand.hear(CONTROLLER, train(2, base=version(2)))
    assert {key[3] for key in stand.fetches} == {2}
    assert stand.spools.used == sum(f.reference.manifest.size for f in stand.fetches.values())


def test_an_older_task_that_comes_late_is_not_begun(stand: Stand) -> None:
    """It was overtaken; its controller need not repeat it."""
    stand.hear(CONTROLLER, train(2))
    fetches = dict(stand.fetches)
    stand.hear(CONTROLLER, train(1))
    assert stand.told(CONTROLLER, TaskTaken).task == 1
    assert stand.fetches == fetches


def test_an_older_update_is_kept_until_somebody_says_what_became_of_it(stand: Stand) -> None:
    """A newer task alone says nothing about it."""
    stand.trained()
    stand.trained(train(2))
    assert set(stand.asks) == {("answer", JOB, 1), ("answer", JOB, 2)}
    assert len(stand.files()) == 4


def test_a_newer_task_tells_where_to_ask_about_older_updates(stand: Stand) -> None:
    """Their own collector may never come back; declines need no answer any more."""
    stand.trained()
    stand.bench.failure = ZeroDivisionError
    stand.hear(CONTROLLER, train(2))
    stand.work()
    assert set(stand.asks) == {("answer", JOB, 1), ("answer", JOB, 2)}
    stand.hear(CONTROLLER, train(1, job="job-2"))
    stand.hear(CONTROLLER, train(3, collector=OTHER_COLLECTOR))
    assert {key: ask.to for key, ask in stand.asks.items()} == {("answer", JOB, 1): OTHER_COLLECTOR}


def test_a_receipt_for_a_task_under_way_ends_it(stand: Stand) -> None:
    """An earlier life of this agent has done it."""
    stand.hear(CONTROLLER, train())
    stand.hear(COLLECTOR, STORED)
    assert stand.fetches == {}
    assert stand.spools.used == 0


def test_two_jobs_are_worked_on_one_after_the_other(stand: Stand) -> None:
    """In the order in which they have all they need."""
    stand.hear(CONTROLLER, train())
    stand.hear(CONTROLLER, train(1, job="job-2"))
    stand.bring()
    assert len(stand.runs) == 1
    stand.work()
    assert set(stand.asks) == {("answer", JOB, 1), ("answer", "job-2", 1)}


def test_a_waiting_task_whose_weights_were_replaced_fetches_them_again(stand: Stand) -> None:
    """Only the last weights of a model are held; two that wait do not fetch in turns."""
    stand.hear(CONTROLLER, train())
    stand.bring()
    stand.hear(CONTROLLER, train(1, job="job-2"))
    stand.hear(CONTROLLER, train(1, job="job-3", base=version(3)))
    stand.bring()
    assert len(stand.runs) == 1
    for _ in range(3):
        stand.work()
        stand.bring()
    done = [weights for _, _, weights in stand.bench.done]
    assert done == [weights_of(1), weights_of(3), weights_of(1)]


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (lambda: TrainingError("the loss became nan"), "the loss became nan"),
        (lambda: ValueError("bad rows"), "ValueError: bad rows (stand.py:"),
        (MemoryError, "MemoryError (stand.py:"),
        (lambda: TrainingError("ä" * 9000), "ä" * 2048),
    ],
)
def test_training_that_fails_is_declined_with_its_reason(
    stand: Stand, failure: object, reason: str
) -> None:
    """Until the collector has heard it; asked again, it is said again."""
    stand.bench.failure = failure  # type: ignore[assignment]
    stand.hear(CONTROLLER, train())
    stand.bring()
    stand.work()
    told = stand.asked(("answer", JOB, 1), Decline).reason
    assert told.startswith(reason)
    assert stand.noted("task_failed")
    stand.hear(CONTROLLER, train())
    assert stand.told(COLLECTOR, Decline).reason == told
    stand.hear(COLLECTOR, Receipt(job=JOB, task=1, verdict="drop", reason="noted"))
    assert stand.asks == {}


@pytest.mark.parametrize(("memory_mb", "taken"), [(5 * 64 - 1, False), (5 * 64, True), (0, True)])
def test_a_model_that_cannot_be_held_is_declined(
    tmp_path: Path, memory_mb: int, taken: bool
) -> None:
    """Before it is fetched; where nobody knows the memory, it is tried."""
    stand = Stand(tmp_path, memory_mb=memory_mb)
    big = replace(version(), weights=Manifest(digest="0" * 64, size=64 * 2**20))
    stand.hear(CONTROLLER, train(base=big))
    assert bool(stand.fetches) == taken
    if not taken:
        reason = stand.asked(("answer", JOB, 1), Decline).reason
        assert reason == "training needs about 320 MiB of memory, 319 are available"


def test_room_is_measured_now_and_then_and_always_before_a_refusal(tmp_path: Path) -> None:
    """It takes as long as all else that a small task needs; memory that is free again is used."""
    stand = Stand(tmp_path, memory_mb=1000)
    before = stand.measured
    for number in (1, 2, 3):
        stand.hear(CONTROLLER, train(number))
    assert stand.measured == before + 1
    stand.memory_mb = 10
    stand.wait(RECENT_SECONDS)
    before = stand.measured
    stand.hear(CONTROLLER, train(4))
    assert stand.measured > before
    stand.memory_mb = 1000
    big = replace(version(), weights=Manifest(digest="0" * 64, size=64 * 2**20))
    stand.hear(CONTROLLER, train(5, base=big))
    assert ("answer", JOB, 5) not in stand.asks


def test_a_task_under_way_is_not_refused_when_it_is_ordered_again(tmp_path: Path) -> None:
    """The memory it takes itself is no reason."""
    stand = Stand(tmp_path)
    stand.hear(CONTROLLER, train())
    stand.memory_mb = 1
    big = replace(version(), weights=Manifest(digest="0" * 64, size=64 * 2**20))
    stand.hear(CONTROLLER, train(base=big))
    stand.hear(CONTROLLER, evaluate())
    stand.hear(CONTROLLER, evaluate())
    stand.bring()
    stand.work()
    assert stand.offered().task == 1


@pytest.mark.parametrize("order", [train(trainer="lost"), evaluate(trainer="lost")])
def test_an_order_for_a_trainer_that_is_not_here_is_refused_at_once(
    tmp_path: Path, order: TrainTask | EvaluateTask
) -> None:
    """Nothing is fetched for it, and the next order is followed."""
    stand = Stand(tmp_path, trainers=Trainers(own={"tiny": nobody}))
    stand.hear(CONTROLLER, order)
    answers: list[Decline | Evaluated] = [*stand.said(Decline), *stand.said(Evaluated)]
    (answer,) = answers
    assert answer.reason.startswith("no trainers plug-in named 'lost'; installed: ")
    assert stand.fetches == {}
    stand.hear(CONTROLLER, train(2))
    stand.bring()
    stand.work()
    assert stand.offered(2).task == 2


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (card_of(onnx={}), "model tiny needs one of onnx"),
        (
            card_of({"data_types": {"image": {"size": [8, 8, 1]}}}, tiny={}),
            "the model takes image [8, 8, 1]; the data here is numerical [64]",
        ),
    ],
)
def test_a_model_that_cannot_be_used_here_is_refused_when_its_card_comes(
    tmp_path: Path, card: bytes, reason: str
) -> None:
    """Its weights, which may be large, are fetched no further."""
    stand = Stand(tmp_path, trainers=Trainers(own={"tiny": nobody}))
    stand.form = {"x": {"data_types": {"numerical": {"size": [64]}}}}
    stand.hear(CONTROLLER, train(base=version(card=card)))
    stand.arrive(("fetch", "train", JOB, 1, manifest_of(card).digest), card)
    assert stand.asked(("answer", JOB, 1), Decline).reason == reason
    assert stand.fetches == {}
    assert stand.runs == []


def test_what_does_not_come_is_fetched_again_but_not_for_ever(stand: Stand) -> None:
    """After ten failures the task is declined."""
    stand.hear(CONTROLLER, train())
    weights = ("fetch", "train", JOB, 1, version().weights.digest)
    card = ("fetch", "train", JOB, 1, manifest_of(CARD).digest)
    for _ in range(9):
        stand.lose(weights)
        stand.hear(CONTROLLER, train())
        assert weights not in stand.fetches
        assert card in stand.fetches
        stand.wait(2.0)
    stand.lose(weights)
    assert stand.asked(("answer", JOB, 1), Decline).reason == "its source is gone"
    assert stand.fetches == {}
    assert stand.spools.used == 0


def test_a_task_in_a_pause_is_gathered_when_it_is_over(stand: Stand) -> None:
    """Though something else of it has arrived meanwhile."""
    stand.hear(CONTROLLER, train())
    stand.lose(("fetch", "train", JOB, 1, version().weights.digest))
    stand.bring()
    assert stand.fetches == {}
    stand.wait(2.0)
    stand.bring()
    stand.work()
    assert stand.offered().task == 1


@pytest.mark.parametrize(
    ("card", "sent", "reason"),
    [
        (CARD, CARD[:-1] + b" ", "other bytes than its digest names"),
        (b"{}", None, "ModelCard."),
        (card_of(tiny={"blob": {"digest": "x", "size": 1}}), None, "structures.tiny.blob: "),
        (card_of(tiny={"blob": 7}), None, "structures.tiny.blob: "),
        (
            card_of(tiny={"blob": {"digest": "0" * 64, "size": 2**29}}),
            None,
            "a card that names a file of 536870912 bytes, at most",
        ),
    ],
    ids=["damaged", "no card", "no digest", "no manifest", "too large"],
)
def test_a_card_that_cannot_be_used_is_declined(
    stand: Stand, card: bytes, sent: bytes | None, reason: str
) -> None:
    """And no other task stumbles over it."""
    stand.hear(CONTROLLER, train(base=version(card=card)))
    stand.arrive(("fetch", "train", JOB, 1, manifest_of(card).digest), sent or card)
    assert reason in stand.asked(("answer", JOB, 1), Decline).reason
    assert stand.fetches == {}
    stand.hear(CONTROLLER, train(1, job="job-2"))
    stand.bring()
    stand.work()
    assert ("answer", "job-2", 1) in stand.asks


def test_a_disk_that_cannot_be_used_declines_the_task(tmp_path: Path) -> None:
    """There is no room for the model; the agent lives."""
    stand = Stand(tmp_path / "home", Spools(0, tmp_path / "gone"))
    stand.hear(CONTROLLER, train())
    reason = stand.asked(("answer", JOB, 1), Decline).reason
    assert reason.startswith("spool: No such file or directory")
    stand.hear(CONTROLLER, train(2, inline=weights_of(1)))
    assert ("answer", JOB, 2) in stand.asks


# ── training that hangs ───────────────────────────────────────────────────────────────────────────


def hang(stand: Stand) -> Run:
    """Let a thread begin with a task, and not come back for a long time; returns what it runs."""
    stand.bring()
    run = stand.runs.pop()
    stand.wait(STALL_SECONDS)
    return run


def test_training_that_hangs_is_declined_and_no_more_is_taken(stand: Stand) -> None:
    """All tasks, with the reason; then the process leaves with a code of its own."""
    stand.hear(CONTROLLER, train())
    stand.hear(CONTROLLER, evaluate())
    hang(stand)
    reason = f"training hangs: no batch for {STALL_SECONDS:g} s"
    assert stand.asked(("answer", JOB, 1), Decline).reason == reason
    assert stand.told(CONTROLLER, Evaluated).reason == reason
    assert stand.trouble() == reason
    stand.hear(CONTROLLER, train(2))
    assert stand.asked(("answer", JOB, 2), Decline).reason == reason
    assert stand.runs == []
    stand.wait(30.0)
    assert stand.last == [Quit(75, reason)]


def test_training_that_comes_back_late_is_not_offered_but_the_agent_works_again(
    stand: Stand,
) -> None:
    """A word given is kept: the task was declined."""
    stand.hear(CONTROLLER, train())
    run = hang(stand)
    stand.tell(Ran(run.key, run.call.func(*run.call.args[:3], Flag())))  # type: ignore[attr-defined]
    stand.work()
    assert stand.files() == []
    assert stand.trouble() == ""
    stand.hear(CONTROLLER, train(2))
    stand.bring()
    stand.work()
    assert stand.offered(2).task == 2
    stand.wait(STALL_SECONDS)
    assert Quit not in map(type, stand.last)


def test_a_worker_that_ignores_a_cancelled_job_is_given_up_too(stand: Stand) -> None:
    """Nobody waits for an answer, but the thread is lost."""
    stand.hear(CONTROLLER, train())
    stand.bring()
    stand.runs.clear()
    stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
    stand.wait(STALL_SECONDS)
    assert stand.trouble().startswith("training hangs")
    assert stand.asks == {}


# ── evaluation ────────────────────────────────────────────────────────────────────────────────────


def test_a_version_is_scored_once_and_the_score_told_as_often_as_asked(stand: Stand) -> None:
    """The controller repeats its question until it has heard the answer."""
    stand.hear(CONTROLLER, evaluate())
    stand.bring()
    stand.work()
    score = stand.told(CONTROLLER, Evaluated)
    assert (score.version, score.examples, score.metrics) == (2, 7, {"accuracy": 0.5})
    stand.hear(CONTROLLER, evaluate())
    assert stand.told(CONTROLLER, Evaluated) == score
    assert len(stand.bench.done) == 1


def test_a_score_that_fails_is_told_with_its_reason_and_tried_again(stand: Stand) -> None:
    """When it is asked for again."""
    stand.bench.failure = lambda: TrainingError("cannot evaluate")
    stand.hear(CONTROLLER, evaluate())
    stand.bring()
    stand.work()
    assert stand.told(CONTROLLER, Evaluated).reason == "cannot evaluate"
    stand.bench.failure = None
    stand.hear(CONTROLLER, evaluate())
    stand.bring()
    stand.work()
    assert stand.told(CONTROLLER, Evaluated).reason == ""


def test_a_newer_version_to_score_stops_the_older(stand: Stand) -> None:
    """But no training."""
    stand.hear(CONTROLLER, train())
    stand.hear(CONTROLLER, evaluate(2))
    stand.hear(CONTROLLER, evaluate(3))
    assert {(key[1], key[3]) for key in stand.fetches} == {("train", 1), ("evaluate", 3)}


def test_only_so_many_scores_are_remembered(stand: Stand) -> None:
    """The oldest is forgotten first."""
    for number in range(66):
        stand.hear(CONTROLLER, evaluate(2, job=f"job-{number}"))
        stand.bring()
        stand.work()
    stand.hear(CONTROLLER, evaluate(2, job="job-65"))
    assert stand.runs == []
    stand.hear(CONTROLLER, evaluate(2, job="job-0"))
    assert len(stand.runs) == 1


# ── the end of jobs and lives ─────────────────────────────────────────────────────────────────────


def test_a_stopped_job_leaves_nothing_behind(stand: Stand) -> None:
    """Not a task, not an update, not a decline; others go on."""
    stand.trained()
    stand.trained(train(1, job="job-2"))
    stand.hear(CONTROLLER, train(2))
    (running,) = stand.runs
    stand.hear(CONTROLLER, evaluate())
    stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert stand.told(CONTROLLER, JobStopped).job == JOB
    stand.work()
    assert {key[1] for key in stand.asks} == {"job-2"}
    assert stand.files() == ["job-2~1.offer", "job-2~1.update"]
    assert running.key[1] == JOB


def test_a_late_order_of_a_stopped_job_is_not_followed(stand: Stand) -> None:
    """It may be a repetition, overtaken by the end."""
    stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
    stand.hear(CONTROLLER, train(9))
    assert stand.told(CONTROLLER, TaskTaken).task == 9
    assert (stand.fetches, stand.asks) == ({}, {})


@pytest.mark.parametrize("stale", [train(epoch=3), evaluate(epoch=3), StopJob(epoch=3, job=JOB)])
def test_an_order_under_a_lower_epoch_is_refused(stand: Stand, stale: object) -> None:
    """Its sender has lost the lease, and is told so."""
    stand.hear(CONTROLLER, train(epoch=4))
    stand.hear("controller.2", stale)
    assert stand.told("controller.2", StaleEpoch).epoch == 4
    assert len(stand.last) == 1


def test_a_restarted_agent_offers_the_same_bytes_again(tmp_path: Path) -> None:
    """Once; what is trained again would not be the same."""
    first = Stand(tmp_path)
    offer = first.trained()
    second = Stand(tmp_path)
    assert second.offered() == offer
    served = second.served[offer.update.digest]
    assert served.read(0, served.size) == update_of(1)
    assert second.tell(Connected()) == []
    second.hear(CONTROLLER, train())
    assert (second.runs, second.fetches) == ([], {})


def test_an_update_settled_before_the_first_connection_is_not_offered(tmp_path: Path) -> None:
    """A receipt may be quicker than the connection's greeting."""
    Stand(tmp_path).trained()
    answers = Answers(Outbox(tmp_path))
    assert answers.given(JOB, 1)
    list(answers.settle(JOB, 1))
    assert list(answers.begin()) == []


def test_work_is_stopped_when_the_process_leaves(stand: Stand) -> None:
    """Nobody is told: the next life does it anew."""
    stand.hear(CONTROLLER, train())
    stand.bring()
    stand.tell(Stopping())
    stand.work()
    assert stand.asks == {}
    assert stand.bench.done == []


def test_a_change_of_what_it_does_is_announced_after_a_moment(stand: Stand) -> None:
    """Not if it is over by then."""
    assert stand.doing() == ""
    stand.hear(CONTROLLER, train())
    stand.wait(1.0)
    assert stand.last == [Introduce()]
    assert stand.doing() == f"train {JOB} 1"
    assert stand.core.progress() == 0.0
    stand.bring()
    stand.work()
    stand.hear(CONTROLLER, train(2))
    stand.hear(CONTROLLER, train(1, job="job-2"))
    assert stand.core.progress() == 0.0
    assert stand.doing() == f"train {JOB} 2"
    stand.wait(1.0)
    assert stand.last == []


def test_what_is_not_for_it_changes_nothing(stand: Stand) -> None:
    """Late timers, late blobs, other people's messages."""
    stand.trained()
    assert stand.tell(Woke(("retry", "train", JOB, 1))) == []
    assert stand.tell(Woke(("something", "else"))) == []
    assert stand.tell(Ran(("forget", JOB, 1), None)) == []
    assert stand.hear(COLLECTOR, object()) == []


def test_a_stray_result_is_nobodys(stand: Stand) -> None:
    """Nothing was being worked on."""
    assert stand.tell(Ran(("train", JOB, 7), None)) == []
