"""How a version comes: once, in order, checked; and what is tried again."""

from pathlib import Path
from typing import NoReturn

import pytest

from fedbus.core.events import Connected, Fetched, FetchFailed, Received, RunFailed, Woke
from fedbus.frameworks.tflite.trial import TrialNotRun
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.documents import ModelLatest, TensorSpec
from fedbus_inference import model_updater
from fedbus_inference.keys import (
    LastGoodLookup,
    LoadRetry,
    ModelKey,
    SpecReading,
    StructureFetch,
    VersionLoading,
    WeightsFetch,
)
from fedbus_inference.last_good import LastGood
from fedbus_inference.limits import Limits
from fedbus_inference.model_updater import Buffer
from tests.inference.stand import Stand, Sums, spec, weights


def test_a_model_comes_as_spec_architecture_and_weights() -> None:
    """Each blob is fetched from the node that announced it."""
    stand = Stand()
    architecture = stand.store(b"graph")
    held = stand.store(spec(architectures={"sums": {"blob": vars_of(architecture), "depth": 2}}))
    stand.announce(1, spec=held)
    assert [fetch.location.source for fetch in stand.fetches.values()] == ["repository.1"]
    stand.settle()
    assert stand.fetched == [held.digest, architecture.digest, blob_ref_of(weights(1)).digest]
    assert stand.core.versions == {"sum": 1}
    assert stand.loaded[0].architecture == {"blob": b"graph", "depth": 2}


def test_spec_and_architecture_come_once_for_all_versions() -> None:
    """A new version of the same model costs its weights, and no more."""
    stand = Stand()
    held = stand.store(spec(architectures={"sums": {"blob": vars_of(stand.store(b"graph"))}}))
    for version in (1, 2, 3):
        stand.serve(version, spec=held)
    assert len(stand.fetched) == 2 + 3
    assert stand.loaded[1].architecture == {"blob": b"graph"}


def test_a_new_spec_is_read_anew() -> None:
    """A model may change its architecture from one version to the next."""
    stand = Stand()
    stand.serve(1)
    stand.serve(2, spec=stand.store(spec(architectures={"sums": {"depth": 3}})))
    assert stand.loaded[1].architecture == {"depth": 3}


def test_the_preferred_framework_is_taken() -> None:
    """Where a spec offers several, the order here decides."""
    stand = Stand(frameworks=("quick", "sums"))
    stated = {"sums": {"is": "sums"}, "quick": {"is": "quick"}}
    stand.serve(1, spec=stand.store(spec(architectures=stated)))
    assert stand.loaded[0].architecture == {"is": "quick"}


def test_an_older_version_never_replaces_a_newer_one() -> None:
    """Announcements may arrive in any order."""
    stand = Stand()
    stand.serve(5)
    stand.serve(4)
    assert stand.core.versions == {"sum": 5}
    assert len(stand.loaded) == 1


def test_the_same_version_again_is_no_news() -> None:
    """A repository that restarts speaks of what it holds."""
    stand = Stand()
    latest = stand.announce(3)
    stand.tell(Received("", latest))
    stand.settle()
    stand.tell(Connected())
    stand.tell(Received("", latest))
    assert not stand.fetches
    assert len(stand.loaded) == 1


def test_versions_that_come_fast_are_not_starved() -> None:
    """What is begun arrives; then comes the newest, and those between are left out."""
    stand = Stand()
    stand.announce(1)
    for version in (2, 3, 4):
        stand.announce(version)
    stand.settle()
    assert [sums.bias for sums in stand.loaded] == [1, 4]
    assert stand.core.versions == {"sum": 4}


def test_a_failed_fetch_keeps_the_old_version_and_is_tried_again() -> None:
    """Nobody notices but the log."""
    stand = Stand()
    stand.serve(1)
    latest = stand.announce(2)
    data = stand.blobs.pop(latest.digest)
    stand.settle()
    stand.ask()
    stand.settle()
    assert stand.answer()["version"] == 1
    assert stand.noted("model_not_loaded") == [
        {"model": "sum", "version": 2, "reason": "repository.1 does not hold it"}
    ]
    stand.blobs[latest.digest] = data
    stand.wait(1)
    stand.settle()
    assert stand.core.versions == {"sum": 2}


def test_failures_are_tried_again_more_and_more_rarely() -> None:
    """After 1, 2, 4 … 60 seconds; success begins anew."""
    stand = Stand()
    latest = stand.announce(1)
    data = stand.blobs.pop(latest.digest)
    pauses = []
    for _ in range(9):
        stand.settle()
        pauses.append(stand.timers[LoadRetry("sum")] - stand.now)
        stand.wait(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    stand.blobs[latest.digest] = data
    stand.settle()
    assert stand.core.versions == {"sum": 1}
    del stand.blobs[stand.announce(2).digest]
    stand.settle()
    assert stand.timers[LoadRetry("sum")] - stand.now == 1


def test_a_repository_that_speaks_again_is_asked_at_once() -> None:
    """It has just come back: no reason to wait for the timer."""
    stand = Stand()
    latest = stand.announce(1)
    data = stand.blobs.pop(latest.digest)
    stand.settle()
    stand.blobs[latest.digest] = data
    stand.tell(Received("", latest))
    stand.settle()
    assert stand.core.versions == {"sum": 1}
    stand.wait(60)
    assert not stand.fetches


def test_a_newer_version_takes_the_place_of_one_that_failed() -> None:
    """The newest may be whole where an older is lost."""
    stand = Stand()
    del stand.blobs[stand.announce(1).digest]
    stand.announce(2)
    stand.settle()
    assert stand.core.versions == {"sum": 2}
    assert len(stand.noted("model_not_loaded")) == 1


def test_what_is_on_its_way_is_dropped_when_another_part_fails() -> None:
    """The retry begins afresh, with nothing of the failed attempt."""
    stand = Stand()
    architecture = blob_ref_of(b"graph")
    stand.announce(
        1, spec=stand.store(spec(architectures={"sums": {"blob": vars_of(architecture)}}))
    )
    stand.fetch()
    stand.run()
    assert set(stand.fetches) == {StructureFetch("sum"), WeightsFetch("sum")}
    stand.fetch()
    assert not stand.fetches
    stand.store(b"graph")
    stand.wait(1)
    stand.settle()
    assert stand.core.versions == {"sum": 1}


def test_parts_may_arrive_in_any_order() -> None:
    """The load begins with the last of them."""
    stand = Stand()
    stand.announce(
        1, spec=stand.store(spec(architectures={"sums": {"blob": vars_of(stand.store(b"graph"))}}))
    )
    stand.fetch()
    stand.run()
    stand.fetches = dict(reversed(stand.fetches.items()))
    stand.fetch()
    assert not stand.runs
    stand.settle()
    assert stand.core.versions == {"sum": 1}


@pytest.mark.parametrize("part", ["spec", "architecture", "weights"])
def test_bytes_that_are_not_what_was_announced_are_refused(part: str) -> None:
    """Each digest is held against the content before anything reads it."""
    stand = Stand()
    architecture = stand.store(b"graph")
    held = stand.store(spec(architectures={"sums": {"blob": vars_of(architecture)}}))
    latest = stand.announce(1, spec=held)
    digest = {"spec": held, "architecture": architecture}.get(part, blob_ref_of(weights(1))).digest
    whole = stand.blobs[digest]
    stand.blobs[digest] = whole[:-1] + b"!"
    stand.settle()
    (noted,) = stand.noted("model_not_loaded")
    assert noted["reason"].startswith(f"{part}: digest ")
    stand.blobs[digest] = whole
    stand.tell(Received("", latest))
    stand.settle()
    assert stand.core.versions == {"sum": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"architectures": {"other": {}}},
            "the model comes for other; here is sums (install one, or set FEDBUS_RUNTIME)",
            id="framework",
        ),
        pytest.param(
            {"architectures": {}},
            "the model comes for no framework; here is sums (install one, or set FEDBUS_RUNTIME)",
            id="no-framework",
        ),
        pytest.param(
            {"architectures": {"sums": {"blob": {"size": 3}}}}, "BlobRef.digest", id="blob"
        ),
        pytest.param(
            {"architectures": {"sums": {"blob": {"digest": "0" * 64, "size": 10**6}}}},
            "architecture of 1000000 bytes, at most 1000",
            id="large-architecture",
        ),
        pytest.param({"input": {"shape": ["x"]}}, "input.shape", id="input"),
        pytest.param(
            {"layout": (TensorSpec(name="b", shape=(1,), dtype="float32"),)},
            "a blob of layout",
            id="layout",
        ),
        pytest.param({"input": {"shape": []}}, "too many indices for array", id="trial"),
    ],
)
def test_a_model_that_does_not_fit_is_not_swapped_in(
    changes: dict[str, object], reason: str
) -> None:
    """The old version goes on, and the log says why."""
    stand = Stand(limits=Limits(model_bytes=1000))
    stand.serve(1)
    stand.serve(2, spec=stand.store(spec(**changes)))
    (noted,) = stand.noted("model_put_aside") or stand.noted("model_not_loaded")
    assert reason in noted["reason"]
    assert stand.core.versions == {"sum": 1}


def test_a_model_that_says_no_shape_is_not_tried() -> None:
    """Nobody knows what to try it with."""
    stand = Stand()
    stand.serve(1, spec=stand.store(spec(input={})))
    assert stand.loaded[0].batches == []
    assert stand.core.versions == {"sum": 1}


def test_blobs_too_large_for_this_machine_are_not_fetched() -> None:
    """The announcement tells their size."""
    stand = Stand(limits=Limits(model_bytes=1000))
    stand.announce(1, size=1001)
    stand.announce(1, spec=BlobRef(digest="0" * 64, size=MAX_MESSAGE_BYTES + 1))
    assert not stand.fetches
    assert [noted["reason"] for noted in stand.noted("model_not_loaded")] == [
        "weights of 1001 bytes, at most 1000",
        f"spec of {MAX_MESSAGE_BYTES + 1} bytes, at most {MAX_MESSAGE_BYTES}",
    ]


def test_an_error_without_words_is_named_by_its_kind() -> None:
    """`MemoryError()` says nothing by itself."""
    stand = Stand()
    stand.announce(1)
    stand.fetch()
    (opening,) = stand.runs
    stand.tell(RunFailed(opening.key, MemoryError()))
    assert stand.noted("model_not_loaded")[0]["reason"] == "MemoryError"


def test_what_was_not_asked_for_is_let_go() -> None:
    """An answer of an attempt before does not pass for one of this."""
    stand = Stand()
    stand.announce(1)
    stand.tell(Fetched(ModelKey("sum"), Buffer(1)))
    assert not stand.runs
    stand.settle()
    assert stand.core.versions == {"sum": 1}


def test_what_comes_too_late_changes_nothing() -> None:
    """A timer or a blob of an attempt that is over is let go."""
    stand = Stand()
    stand.serve(1)
    stand.tell(Woke(LoadRetry("sum")))
    stand.tell(FetchFailed(WeightsFetch("sum"), "late"))
    stand.tell(RunFailed(VersionLoading("sum"), ValueError("late")))
    stand.tell(Fetched(WeightsFetch("sum"), Buffer(1)))
    assert not stand.noted("model_not_loaded")
    assert not stand.fetches
    assert not stand.runs


# ── put aside ─────────────────────────────────────────────────────────────────────────────────────


def broken(stand: Stand, version: int) -> ModelLatest:
    """Announce a version whose spec no framework here can run."""
    latest = stand.announce(version, spec=stand.store(spec(architectures={"other": {}})))
    stand.settle()
    return latest


def test_a_version_that_can_never_load_is_put_aside() -> None:
    """It is not fetched again and again; the one before answers, and a newer one takes over."""
    stand = Stand()
    stand.serve(1)
    latest = broken(stand, 2)
    assert [noted["version"] for noted in stand.noted("model_put_aside")] == [2]
    fetched = len(stand.fetched)
    stand.wait(600)
    stand.tell(Received("", latest))
    stand.settle()
    assert len(stand.fetched) == fetched
    assert len(stand.noted("model_put_aside")) == 1
    stand.ask()
    stand.settle()
    assert stand.answer()["version"] == 1
    stand.serve(3)
    assert stand.core.versions == {"sum": 3}


def test_a_newer_version_is_brought_when_one_is_put_aside() -> None:
    """It was announced while the bad one was on its way."""
    stand = Stand()
    stand.announce(1, spec=stand.store(spec(architectures={"other": {}})))
    stand.announce(2)
    stand.settle()
    assert stand.core.versions == {"sum": 2}


@pytest.mark.parametrize("error", [TrialNotRun("no memory for a child"), MemoryError()])
def test_what_is_wrong_with_this_machine_is_tried_again(error: Exception) -> None:
    """The version may be a good one."""
    stand = Stand()
    stand.announce(1)
    while stand.fetch() or stand.run(SpecReading):
        pass
    (loading,) = stand.runs
    stand.runs.clear()
    stand.fail(loading.key, error)
    assert not stand.noted("model_put_aside")
    stand.wait(1)
    stand.settle()
    assert stand.core.versions == {"sum": 1}


@pytest.mark.parametrize("error", [MemoryError(), OSError("disk")])
def test_a_machine_that_lacks_memory_puts_nothing_aside(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is tried on a row of zeros, which takes some."""

    def predict(_self: Sums, _inputs: object) -> NoReturn:
        raise error

    stand = Stand()
    with monkeypatch.context() as patch:
        patch.setattr(Sums, "predict", predict)
        stand.serve(1)
    assert not stand.noted("model_put_aside")
    stand.wait(1)
    stand.settle()
    assert stand.core.versions == {"sum": 1}


def test_a_restart_answers_with_the_last_version_that_did(tmp_path: Path) -> None:
    """The broker retains the newest only, which is put aside; the repository has the other."""
    first = Stand(last_good=LastGood(tmp_path))
    first.serve(1)
    second = Stand(last_good=LastGood(tmp_path), blobs=first.blobs)
    broken(second, 2)
    assert second.core.versions == {"sum": 1}
    second.ask()
    second.settle()
    assert second.answer()["version"] == 1
    second.serve(3)
    assert second.core.versions == {"sum": 3}


def test_a_restart_that_finds_nothing_says_why(tmp_path: Path) -> None:
    """Nothing answered before, or what did is gone from the repository, or broken as well."""
    stand = Stand(last_good=LastGood(tmp_path))
    broken(stand, 2)
    stand.ask()
    assert "version 2 is put aside: the model comes for other" in stand.answer()["error"]
    LastGood(tmp_path).keep(Stand().announce(1))
    stand = Stand(last_good=LastGood(tmp_path))
    broken(stand, 2)
    assert stand.noted("model_not_loaded")[0]["version"] == 1
    LastGood(tmp_path).keep(broken(Stand(), 2))
    stand = Stand(last_good=LastGood(tmp_path))
    broken(stand, 2)
    assert len(stand.noted("model_put_aside")) == 1


def test_the_last_good_version_is_not_brought_beside_a_newer_one(tmp_path: Path) -> None:
    """It came while the disk was asked."""
    first = Stand(last_good=LastGood(tmp_path))
    first.serve(1)
    stand = Stand(last_good=LastGood(tmp_path), blobs=first.blobs)
    stand.announce(2, spec=stand.store(spec(architectures={"other": {}})))
    while not any(isinstance(run.key, LastGoodLookup) for run in stand.runs):
        assert stand.fetch() or stand.run()
    stand.announce(3)
    stand.settle()
    assert stand.core.versions == {"sum": 3}
    assert [sums.bias for sums in stand.loaded] == [3]


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    """A disk that was full, another model's note; without a folder there is none."""
    (tmp_path / "sum.json").write_text(text)
    assert LastGood(tmp_path).recall("sum") is None
    LastGood(tmp_path).keep(Stand().announce(1))
    (tmp_path / "sum.json").rename(tmp_path / "other.json")
    assert LastGood(tmp_path).recall("other") is None
    LastGood().keep(Stand().announce(1))
    assert LastGood().recall("sum") is None
    LastGood(tmp_path / "other.json").keep(Stand().announce(1))


# ── one model for many versions ───────────────────────────────────────────────────────────────────


def test_versions_take_turns_in_two_models() -> None:
    """TFLite never gives a model's memory back: a new one for each version would be a leak."""
    stand = Stand()
    for version in range(1, 10):
        stand.serve(version)
        stand.ask([1, 1, 1])
        stand.settle()
        assert stand.answer()["outputs"] == [[3 + version]]
    assert (len(stand.loaded), stand.reloaded) == (2, 7)


@pytest.mark.parametrize("ends", ["answered", "broke"])
def test_a_model_that_still_answers_takes_no_other_weights(ends: str) -> None:
    """Whoever was handed to a version is answered by it; then it is free, however it ended."""
    stand = Stand()
    stand.serve(1)
    stand.serve(2)
    stand.ask([1, 1, 1])
    (predicting,) = stand.runs
    stand.runs.clear()
    stand.announce(3)
    stand.settle()  # into the model of version 1
    stand.announce(4)
    stand.settle()  # that of version 2 is at work: a new one
    assert (len(stand.loaded), stand.reloaded, stand.loaded[1].bias) == (3, 1, 2)
    stand.runs.append(predicting)
    if ends == "broke":
        stand.runs.clear()
        stand.fail(predicting.key, ValueError("no"))
    stand.settle()
    assert stand.answer().get("version", 2) == 2
    stand.serve(5)
    assert (len(stand.loaded), stand.reloaded) == (3, 2)


def test_a_spare_of_another_spec_is_let_go() -> None:
    """Its architecture is another."""
    stand = Stand()
    stand.serve(1)
    stand.serve(2)
    stand.serve(3, spec=stand.store(spec(architectures={"sums": {"depth": 3}})))
    assert (len(stand.loaded), stand.reloaded) == (3, 0)


def test_a_large_spare_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would double what the service holds, all the time."""
    monkeypatch.setattr(model_updater, "SPARE_BYTES", 10)
    stand = Stand()
    for version in (1, 2, 3):
        stand.serve(version)
    assert (len(stand.loaded), stand.reloaded) == (3, 0)


def vars_of(blob_ref: BlobRef) -> dict[str, object]:
    """Write a blob_ref as a spec does."""
    return {"digest": blob_ref.digest, "size": blob_ref.size}
