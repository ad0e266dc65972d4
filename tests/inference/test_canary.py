"""Versions on trial: a canary answers a part of the requests, a shadow is compared with all."""

import json

import msgpack
import numpy as np
import pytest

from fedbus.core.actions import Deliver, Reply
from fedbus.core.events import Received, ReplyTo, Stopping
from fedbus.wire.messages import AliasMoved, RollBackAlias
from fedbus_inference import version_trials
from fedbus_inference.canary import ShadowComparison, Tally, is_canary_request, is_worse
from fedbus_inference.encoding import Encoding
from fedbus_inference.local_requests import LocalPrediction, PredictionOutcome, RefusalKind
from fedbus_inference.prediction import PredictionRequest, Request
from fedbus_inference.settings import InferenceSettings
from tests.inference.harness import FAULTY, Harness, Sums, spec

HALF = InferenceSettings(canary_percent=50, canary_min_requests=10)
ALL = InferenceSettings(canary_percent=100, canary_min_requests=10)
NOWHERE = ReplyTo("fedbus/v1/replies/me", None, None)
SHADOWED = InferenceSettings(shadow=True)


def trial(settings: InferenceSettings, alias: str = "canary", version: int = 2) -> Harness:
    """Serve version 1 by default, and another one on trial."""
    harness = Harness(settings=settings)
    harness.serve(1)
    harness.alias(1, None, **{alias: version})
    harness.settle()
    return harness


def answered(harness: Harness, count: int = 1, inputs: object = (1, 2, 3)) -> list[int]:
    """Ask one after the other; return the versions that answered, 0 for an error."""
    for _ in range(count):
        harness.ask(inputs)
        harness.settle()
    return [answer.get("version", 0) for answer in harness.answers()]


# ── the canary ────────────────────────────────────────────────────────────────────────────────────


def test_a_canary_answers_its_part_of_the_requests() -> None:
    """And none of those that choose a version."""
    harness = trial(HALF)
    versions = answered(harness, 200)
    assert 60 < versions.count(2) < 140
    assert versions.count(1) + versions.count(2) == 200
    for _ in range(20):
        harness.ask(model="sum@latest")
    harness.settle()
    assert {answer["version"] for answer in harness.answers()} == {1}
    assert harness.core.versions == {"sum": 1}


def test_a_repeated_request_meets_the_same_version() -> None:
    """Its correlation data decide; without any, chance does."""
    request = PredictionRequest(b"{}", Encoding.JSON, ReplyTo("replies/me", b"7", None))
    assert len({is_canary_request(request, 50, number) for number in range(50)}) == 1
    others: list[Request] = [
        LocalPrediction("sum", print),
        PredictionRequest(b"", Encoding.JSON, NOWHERE),
    ]
    for other in others:
        assert len({is_canary_request(other, 50, number) for number in range(50)}) == 2
        assert is_canary_request(other, 100, 1)
        assert not is_canary_request(other, 0, 1)


@pytest.mark.parametrize("settings", [InferenceSettings(), InferenceSettings(shadow=True)])
def test_without_a_percentage_the_alias_means_nothing(settings: InferenceSettings) -> None:
    """It may be chosen by name, as every alias."""
    harness = trial(settings)
    assert answered(harness, 20) == [1] * 20
    harness.ask(model="sum@canary")
    harness.settle()
    assert harness.answer()["version"] == 2


def test_a_canary_that_fails_too_often_stops_answering() -> None:
    """It is logged and counted, and the repository is asked to roll the alias back."""
    harness = trial(ALL)
    assert answered(harness, 5) == [2] * 5
    assert answered(harness, 5, [FAULTY, 0, 0]) == [0] * 5  # the version beside it fails as well
    assert answered(harness, 5) == [1] * 5
    (noted,) = harness.noted("canary_rolled_back")
    assert noted["reason"] == ("failed at 5 of 10 requests, the version beside it at 0 of 0")
    (asked,) = harness.asks.values()
    assert asked.to == "repository.1"
    assert asked.message == RollBackAlias(
        model="sum", alias="canary", expected=2, note=noted["reason"], or_remove=True
    )
    assert harness.core.counts["canary_roll_backs"] == 1


@pytest.mark.parametrize("by", ["answer", "alias moved", "alias removed"])
def test_the_repository_is_asked_until_the_alias_is_rolled_back(by: str) -> None:
    """An answer may be lost; then the announcement of the aliases ends it, or another's change."""
    harness = trial(ALL)
    answered(harness, 10, [FAULTY, 0, 0])
    assert harness.asks
    harness.handle(Received("repository.1", AliasMoved(model="sum", alias="other", version=None)))
    harness.alias(2, canary=2, other=1)  # another alias was moved
    assert harness.asks
    if by == "answer":
        removed = AliasMoved(model="sum", alias="canary", version=None)
        harness.handle(Received("repository.1", removed))
    else:
        harness.alias(3, None, **({"canary": 3} if by == "alias moved" else {}))
    assert not harness.asks
    assert answered(harness) == [1]  # before version 3 is loaded
    harness.settle()
    assert answered(harness) == [3 if by == "alias moved" else 1]


def test_what_waits_for_a_canary_that_ends_is_answered_by_the_stable_version() -> None:
    """The alias is removed while a batch runs; what runs is answered, and the model let go."""
    harness = trial(ALL)
    for _ in range(3):
        harness.ask()
    assert len(harness.runs) == 1
    harness.alias(2)
    harness.settle()
    assert sorted(answer["version"] for answer in harness.answers()) == [1, 1, 2]
    assert harness.core.counts["canary_handed_over"] == 2
    harness.alias(3, canary=2)
    loads = len(harness.loaded)
    harness.settle()
    assert len(harness.loaded) == loads + 1  # its memory was free
    assert answered(harness) == [2]


def test_a_canary_whose_alias_is_removed_is_not_judged() -> None:
    """What it still fails at is answered by the stable version; there is nothing to roll back."""
    harness = trial(ALL)
    answered(harness, 9, [FAULTY, 0, 0])
    harness.loaded[-1].fault = 1.0
    harness.ask()
    harness.alias(2)
    harness.settle()
    assert harness.answer()["version"] == 1
    assert not harness.noted("canary_rolled_back")
    assert not harness.asks


def test_what_fails_on_the_canary_is_answered_by_the_stable_version() -> None:
    """Once, over each protocol; it counts as the canary's failure, and is no refused request."""
    harness = trial(ALL)
    harness.loaded[-1].fault = 1.0
    assert answered(harness, 4) == [1] * 4
    harness.predict({"x": np.ones((1, 3), np.float32)})
    harness.settle()
    assert [outcome.version for outcome in harness.outcomes] == [1]
    assert harness.core.counts["canary_handed_over"] == 5
    assert harness.core.counts["requests_answered"] == 5
    assert harness.core.counts["requests_refused"] == 0
    assert answered(harness, 6) == [1] * 6
    (noted,) = harness.noted("canary_rolled_back")
    assert noted["reason"] == "failed at 10 of 10 requests, the version beside it at 0 of 0"
    harness.loaded[-1].fault = FAULTY
    assert answered(harness) == [1]
    assert len(harness.asks) == 1


def test_a_canary_that_refuses_what_the_stable_version_takes_is_rolled_back() -> None:
    """Its input may have another shape; a request that both refuse is no failure of it."""
    harness = Harness(settings=ALL)
    harness.serve(1)
    shape = harness.store(spec(input={"shape": [4], "dtype": "float32"}))
    harness.alias(1, shape, canary=2)
    harness.settle()
    assert answered(harness, 20, [1, 2]) == [0] * 20
    assert not harness.noted("canary_rolled_back")
    assert answered(harness, 3) == [1] * 3
    assert answered(harness, 7, [1, 2, 3, 4]) == [2] * 7
    assert harness.noted("canary_rolled_back")


def test_a_canary_whose_run_breaks_hands_its_requests_over() -> None:
    """As one whose model fails; those that wait for the stable version keep their deadlines."""
    harness = trial(ALL)
    harness.ask()
    (run,) = harness.runs
    harness.runs.clear()
    harness.fail(run.key, MemoryError("no memory"))
    harness.settle()
    assert harness.answer()["version"] == 1
    assert harness.core.counts["canary_handed_over"] == 1
    harness.ask()
    harness.wait(InferenceSettings().request_timeout_seconds + 1)
    (run,) = harness.runs
    harness.runs.clear()
    harness.fail(run.key, MemoryError("no memory"))
    harness.settle()
    assert harness.answer()["kind"] == "deadline"


def test_the_next_canary_begins_at_zero() -> None:
    """Whatever the one before did; and without the alias there is none."""
    harness = trial(ALL)
    answered(harness, 10, [FAULTY, 0, 0])
    assert answered(harness) == [1]
    harness.alias(2, canary=3)
    harness.settle()
    assert answered(harness, 12) == [3] * 12
    harness.alias(3, production=3)
    harness.settle()
    assert answered(harness) == [1]
    harness.alias(4, canary=2)
    harness.settle()
    assert answered(harness) == [2]


def test_requests_that_are_wrong_are_no_fault_of_a_canary() -> None:
    """Only failures of the model count."""
    harness = trial(ALL)
    answered(harness, 20, [1, 2])
    assert answered(harness) == [2]


def test_rows_that_the_transforms_of_both_versions_refuse_are_no_fault_of_a_canary() -> None:
    """They are wrong, as rows of another shape are; and no error of a model is logged."""
    harness = Harness(settings=ALL)
    stated = spec(
        input={"shape": [3], "dtype": "float32", "normalized": True},
        preprocessing=({"id": "normalize", "parameters": {"high": 16}},),
    )
    harness.serve(1, spec=harness.store(stated))
    harness.alias(1, harness.store(stated), canary=2)
    harness.settle()
    assert answered(harness, 20, [32, 0, 0]) == [0] * 20
    assert harness.core.stats.refusals == {RefusalKind.INVALID: 20}
    assert not harness.noted("canary_rolled_back")
    assert not harness.noted("prediction_failed")
    assert answered(harness, 1, [16, 0, 0]) == [2]


def test_a_canary_is_compared_with_the_version_beside_it() -> None:
    """Where that fails as often, the requests are at fault."""
    stable = Tally(answered=50, failed=50)
    assert not is_worse(Tally(50, 50), stable, 10, 5)
    assert is_worse(Tally(40, 60), stable, 10, 5)
    assert not is_worse(Tally(0, 9), stable, 10, 5)
    assert stable.since(Tally(10, 50)) == Tally(40, 0)
    assert Tally().error_rate == 0


def test_a_newer_stable_version_is_counted_from_its_beginning() -> None:
    """Its predecessor's answers are not its own."""
    harness = trial(HALF)
    answered(harness, 40)
    harness.announce(5)
    harness.settle()
    versions = answered(harness, 60, [FAULTY, 0, 0])
    assert set(versions) == {0}
    assert not harness.noted("canary_rolled_back")


def test_a_canary_is_judged_beside_a_new_stable_version_from_its_beginning() -> None:
    """What the version before has answered since the canary began is not subtracted from it."""
    harness = Harness(settings=HALF)
    harness.serve(1)
    answered(harness, 20)
    harness.alias(1, canary=2)
    harness.settle()
    canary = harness.loaded[-1]
    while 2 not in answered(harness):
        pass
    harness.announce(5)
    harness.settle()
    canary.fault = 1.0
    assert set(answered(harness, 40)) == {5}
    (noted,) = harness.noted("canary_rolled_back")
    assert noted["reason"].startswith("failed at ")


# ── the shadow ────────────────────────────────────────────────────────────────────────────────────


def test_a_shadow_computes_what_was_answered_and_is_compared() -> None:
    """Clients get the stable version's answers, at once; copies are no requests of theirs."""
    harness = trial(SHADOWED, "shadow")
    harness.ask()
    harness.predict({"x": np.ones((1, 3), np.float32)})
    harness.run()
    assert harness.answer()["version"] == 1
    harness.settle()
    assert harness.outcomes[0].version == 1
    assert harness.core.counts["shadow_differed"] == 2
    assert harness.core.counts["requests_answered"] == 2
    harness.alias(2, shadow=1)
    harness.settle()
    answered(harness, 3)
    assert harness.core.counts["shadow_agreed"] == 3


def test_a_shadow_that_is_busy_or_ends_is_skipped() -> None:
    """It delays no request, and fills no memory."""
    settings = InferenceSettings(shadow=True, max_queued_requests=1)
    harness = trial(settings, "shadow")
    harness.ask()
    harness.run()
    harness.ask()
    while not harness.replies[1:]:
        (newest,) = [run for run in harness.runs if run.key.slot == ""]  # type: ignore[attr-defined]  # a ModelKey
        harness.runs.remove(newest)
        harness.runs.appendleft(newest)
        harness.run()
    harness.handle(Stopping())
    assert harness.core.counts["shadow_skipped"] == 1
    assert len(harness.answers()) == 2


def test_a_shadow_whose_alias_is_removed_ends() -> None:
    """It computes no more, and what waits for it is skipped."""
    harness = trial(SHADOWED, "shadow")
    harness.ask()
    harness.run()
    harness.ask()
    while not harness.replies[1:]:
        (newest,) = [run for run in harness.runs if run.key.slot == ""]  # type: ignore[attr-defined]  # a ModelKey
        harness.runs.remove(newest)
        harness.runs.appendleft(newest)
        harness.run()
    harness.alias(2)
    harness.settle()
    assert harness.core.counts["shadow_skipped"] == 1
    assert harness.core.counts["shadow_differed"] == 1
    harness.ask()
    harness.settle()
    assert harness.core.counts["shadow_differed"] == 1
    assert len(harness.answers()) == 3


def test_large_answers_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop compares, and would be late for the next request."""
    monkeypatch.setattr(version_trials, "MAX_COMPARED_BYTES", 100)
    harness = trial(SHADOWED, "shadow")
    rows = np.ones((26, 3), np.float32)
    for each in (rows[:25], rows):
        harness.predict({"x": each})
        harness.ask(each.tolist())
        harness.settle()
    assert len(harness.answers()) == len(harness.outcomes) == 2
    assert harness.core.counts["shadow_differed"] == 1
    assert harness.core.counts["shadow_skipped"] == 3


def test_a_shadow_that_is_loading_is_not_asked() -> None:
    """Nothing waits for it."""
    harness = Harness(settings=SHADOWED)
    harness.serve(1)
    harness.alias(1, shadow=2)
    harness.ask()
    while not harness.replies:
        harness.run()
    harness.settle()
    assert "shadow_differed" not in harness.core.counts


def reply(**fields: object) -> Reply:
    """Make a reply in msgpack."""
    to = ReplyTo("fedbus/v1/replies/me", b"1", None)
    return Reply(to, msgpack.packb(fields), "application/msgpack")


def outcome(outputs: object, **derived: object) -> PredictionOutcome:
    """Make a shadow's answer."""
    return PredictionOutcome("sum", 2, {"outputs": np.asarray(outputs)}, derived=derived)


@pytest.mark.parametrize(
    ("mine", "other", "agree"),
    [
        (reply(outputs=[[1.0]]), outcome([[1.0001]]), True),
        (reply(outputs=[[1.0]]), outcome([[1.1]]), False),
        (reply(outputs=[[1.0]]), outcome([[1.0], [2.0]]), False),
        (reply(outputs=[[1.0, 2.0]], classes=["a"]), outcome([[9.0, 10.0]], classes=["a"]), True),
        (reply(outputs=[[1.0, 2.0]], classes=["a"]), outcome([[1.0, 2.0]], classes=["b"]), False),
        (reply(outputs=[[1.0]], classes=["a"]), outcome([[1.0]]), False),
        (reply(outputs={"outputs": [[1.0]]}), outcome([[1.0]]), True),
        (reply(outputs={"left": [[1.0]]}), outcome([[1.0]]), False),
        (
            reply(outputs={"dtype": "float32", "shape": [1], "data": np.ones(1, "<f4").tobytes()}),
            outcome([1.0]),
            True,
        ),
        (Reply(NOWHERE, b"{", None), outcome([1.0]), False),
        (Reply(NOWHERE, b"[]", None), outcome([1.0]), False),
        (
            Reply(NOWHERE, json.dumps({"outputs": [1]}).encode()),
            outcome([1]),
            True,
        ),
        (Deliver(print, outcome([1.0])), outcome([1.0]), True),
        (
            Deliver(print, PredictionOutcome("sum", 1, {"left": np.ones(1)})),
            PredictionOutcome("sum", 2, {"left": np.ones(1)}),
            True,
        ),
    ],
)
def test_answers_agree_by_classes_labels_or_numbers(
    mine: Reply | Deliver, other: PredictionOutcome, *, agree: bool
) -> None:
    """What a client does with them."""
    comparison = ShadowComparison(mine)
    assert comparison.agrees(other) is agree
    comparison(other)  # as a client that needs no answer


def test_the_model_of_these_tests_fails_as_it_should() -> None:
    """Else no canary would be rolled back."""
    with pytest.raises(ValueError, match="thirteen"):
        Sums(0, {}).predict(np.full((1, 3), FAULTY, np.float32))
