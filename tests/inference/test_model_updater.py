"""Versions are loaded once, in order and checked; failures are retried or put aside."""

from pathlib import Path
from typing import NoReturn

import pytest

from fedbus.core.events import Connected, Fetched, FetchFailed, Received, RunFailed, Woke
from fedbus.frameworks.file_trial import TrialNotRun
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.wire.blobs import BlobRef, EncryptedVersion, blob_ref_of
from fedbus.wire.documents import ModelLatest, TensorSpec
from fedbus_inference import model_updater
from fedbus_inference.keys import (
    ArchitectureFetch,
    LastGoodLookup,
    LoadRetry,
    ModelKey,
    SpecReading,
    VersionLoading,
    WeightsFetch,
)
from fedbus_inference.last_good import LastGood
from fedbus_inference.settings import InferenceSettings
from fedbus_inference.version_parts import MemorySink
from tests.inference.harness import Harness, Sums, spec, weights


def test_a_model_comes_as_spec_architecture_and_weights() -> None:
    """Each blob is fetched from the node that announced it."""
    harness = Harness()
    architecture = harness.store(b"graph")
    held = harness.store(spec(architectures={"sums": {"blob": vars_of(architecture), "depth": 2}}))
    harness.announce(1, spec=held)
    assert [fetch.location.source for fetch in harness.fetches.values()] == ["repository.1"]
    harness.settle()
    assert harness.fetched == [held.digest, architecture.digest, blob_ref_of(weights(1)).digest]
    assert harness.core.versions == {"sum": 1}
    assert harness.loaded[0].architecture == {"blob": b"graph", "depth": 2}


def test_spec_and_architecture_come_once_for_all_versions() -> None:
    """A new version of the same model costs its weights, and no more."""
    harness = Harness()
    held = harness.store(spec(architectures={"sums": {"blob": vars_of(harness.store(b"graph"))}}))
    for version in (1, 2, 3):
        harness.serve(version, spec=held)
    assert len(harness.fetched) == 2 + 3
    assert harness.loaded[1].architecture == {"blob": b"graph"}


def test_a_new_spec_is_read_again() -> None:
    """A model may change its architecture from one version to the next."""
    harness = Harness()
    harness.serve(1)
    harness.serve(2, spec=harness.store(spec(architectures={"sums": {"depth": 3}})))
    assert harness.loaded[1].architecture == {"depth": 3}


def test_the_preferred_framework_is_taken() -> None:
    """Where a spec offers several, the order here decides."""
    harness = Harness(frameworks=("quick", "sums"))
    stated = {"sums": {"is": "sums"}, "quick": {"is": "quick"}}
    harness.serve(1, spec=harness.store(spec(architectures=stated)))
    assert harness.loaded[0].architecture == {"is": "quick"}


def test_an_older_version_never_replaces_a_newer_one() -> None:
    """Announcements may arrive in any order."""
    harness = Harness()
    harness.serve(5)
    harness.serve(4)
    assert harness.core.versions == {"sum": 5}
    assert len(harness.loaded) == 1


BEFORE, LATER, LATEST = (f"2026-11-29T08:53:2{second}.120Z" for second in (1, 2, 3))


def test_what_a_restored_repository_makes_takes_the_place_of_what_it_lost() -> None:
    """Its store counts again from the backup, so numbers come back with other content."""
    harness = Harness()
    harness.serve(6, at=BEFORE)
    harness.serve(7, at=LATER)
    harness.serve(5, at=BEFORE)  # the backup's newest, as an announcement that came late
    assert harness.core.versions == {"sum": 7}
    other = harness.store(weights(66))
    harness.serve(6, at=LATEST, digest=other.digest, size=other.size)
    assert harness.core.versions == {"sum": 6}


def test_a_number_with_other_content_is_another_version() -> None:
    """The one that was lost no longer answers under the number of its successor."""
    harness = Harness()
    harness.serve(7)
    other = harness.store(weights(77))
    harness.serve(7, digest=other.digest, size=other.size)
    assert harness.fetched[-1] == other.digest
    assert len(harness.loaded) == 2


def test_the_same_version_again_is_no_news() -> None:
    """A repository that restarts announces its versions again."""
    harness = Harness()
    latest = harness.announce(3)
    harness.handle(Received("", latest))
    harness.settle()
    harness.handle(Connected())
    harness.handle(Received("", latest))
    assert not harness.fetches
    assert len(harness.loaded) == 1


def test_versions_that_come_fast_are_not_starved() -> None:
    """What is begun arrives; then comes the newest, and those between are left out."""
    harness = Harness()
    harness.announce(1)
    for version in (2, 3, 4):
        harness.announce(version)
    harness.settle()
    assert [sums.bias for sums in harness.loaded] == [1, 4]
    assert harness.core.versions == {"sum": 4}


def test_a_failed_fetch_keeps_the_old_version_and_is_tried_again() -> None:
    """Clients notice nothing; the log has the reason."""
    harness = Harness()
    harness.serve(1)
    latest = harness.announce(2)
    data = harness.blobs.pop(latest.digest)
    harness.settle()
    harness.ask()
    harness.settle()
    assert harness.answer()["version"] == 1
    assert harness.noted("model_not_loaded") == [
        {"model": "sum", "version": 2, "reason": "repository.1 does not hold it"}
    ]
    harness.blobs[latest.digest] = data
    harness.wait(1)
    harness.settle()
    assert harness.core.versions == {"sum": 2}


def test_failures_are_tried_again_more_and_more_rarely() -> None:
    """After 1, 2, 4 … 60 seconds; after a success the pauses start at 1 s again."""
    harness = Harness()
    latest = harness.announce(1)
    data = harness.blobs.pop(latest.digest)
    pauses = []
    for _ in range(9):
        harness.settle()
        pauses.append(harness.timers[LoadRetry("sum")] - harness.now)
        harness.wait(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    harness.blobs[latest.digest] = data
    harness.settle()
    assert harness.core.versions == {"sum": 1}
    del harness.blobs[harness.announce(2).digest]
    harness.settle()
    assert harness.timers[LoadRetry("sum")] - harness.now == 1


def test_a_repository_that_is_back_is_asked_at_once() -> None:
    """It has just come back: no reason to wait for the timer."""
    harness = Harness()
    latest = harness.announce(1)
    data = harness.blobs.pop(latest.digest)
    harness.settle()
    harness.blobs[latest.digest] = data
    harness.handle(Received("", latest))
    harness.settle()
    assert harness.core.versions == {"sum": 1}
    harness.wait(60)
    assert not harness.fetches


def test_a_newer_version_takes_the_place_of_one_that_failed() -> None:
    """The newest may be whole where an older is lost."""
    harness = Harness()
    del harness.blobs[harness.announce(1).digest]
    harness.announce(2)
    harness.settle()
    assert harness.core.versions == {"sum": 2}
    assert len(harness.noted("model_not_loaded")) == 1


def test_what_is_on_its_way_is_dropped_when_another_part_fails() -> None:
    """The retry starts from the beginning, with nothing of the failed attempt."""
    harness = Harness()
    architecture = blob_ref_of(b"graph")
    harness.announce(
        1, spec=harness.store(spec(architectures={"sums": {"blob": vars_of(architecture)}}))
    )
    harness.fetch()
    harness.run()
    assert set(harness.fetches) == {ArchitectureFetch("sum"), WeightsFetch("sum")}
    harness.fetch()
    assert not harness.fetches
    harness.store(b"graph")
    harness.wait(1)
    harness.settle()
    assert harness.core.versions == {"sum": 1}


def test_parts_may_arrive_in_any_order() -> None:
    """The load begins with the last of them."""
    harness = Harness()
    harness.announce(
        1,
        spec=harness.store(
            spec(architectures={"sums": {"blob": vars_of(harness.store(b"graph"))}})
        ),
    )
    harness.fetch()
    harness.run()
    harness.fetches = dict(reversed(harness.fetches.items()))
    harness.fetch()
    assert not harness.runs
    harness.settle()
    assert harness.core.versions == {"sum": 1}


@pytest.mark.parametrize("part", ["spec", "architecture", "weights"])
def test_bytes_that_are_not_what_was_announced_are_refused(part: str) -> None:
    """Each digest is held against the content before anything reads it."""
    harness = Harness()
    architecture = harness.store(b"graph")
    held = harness.store(spec(architectures={"sums": {"blob": vars_of(architecture)}}))
    latest = harness.announce(1, spec=held)
    digest = {"spec": held, "architecture": architecture}.get(part, blob_ref_of(weights(1))).digest
    whole = harness.blobs[digest]
    harness.blobs[digest] = whole[:-1] + b"!"
    harness.settle()
    (noted,) = harness.noted("model_not_loaded")
    assert noted["reason"].startswith(f"{part}: expected digest ")
    harness.blobs[digest] = whole
    harness.handle(Received("", latest))
    harness.settle()
    assert harness.core.versions == {"sum": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"architectures": {"other": {}}},
            "the model has architectures for other; this service runs sums: install one of"
            " the former, or set FEDBUS_RUNTIME",
            id="framework",
        ),
        pytest.param(
            {"architectures": {}},
            "the model has architectures for no framework; this service runs sums: install"
            " one of the former, or set FEDBUS_RUNTIME",
            id="no-framework",
        ),
        pytest.param(
            {"architectures": {"sums": {"blob": {"size": 3}}}}, "BlobRef.digest", id="blob"
        ),
        pytest.param(
            {"architectures": {"sums": {"blob": {"digest": "0" * 64, "size": 2**21}}}},
            "architecture: expected at most 1048576 bytes, got 2097152",
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
    harness = Harness(settings=InferenceSettings(max_model_mb=1))
    harness.serve(1)
    harness.serve(2, spec=harness.store(spec(**changes)))
    (noted,) = harness.noted("model_put_aside") or harness.noted("model_not_loaded")
    assert reason in noted["reason"]
    assert harness.core.versions == {"sum": 1}


def test_a_model_that_says_no_shape_is_not_tried() -> None:
    """There is no input to try it with."""
    harness = Harness()
    harness.serve(1, spec=harness.store(spec(input={})))
    assert harness.loaded[0].batches == []
    assert harness.core.versions == {"sum": 1}


def test_blobs_too_large_for_this_machine_are_not_fetched() -> None:
    """The announcement tells their size."""
    harness = Harness(settings=InferenceSettings(max_model_mb=1))
    harness.announce(1, size=2**20 + 1)
    harness.announce(1, spec=BlobRef(digest="0" * 64, size=MAX_MESSAGE_BYTES + 1))
    assert not harness.fetches
    assert [noted["reason"] for noted in harness.noted("model_not_loaded")] == [
        "weights: expected at most 1048576 bytes, got 1048577",
        f"spec: expected at most {MAX_MESSAGE_BYTES} bytes, got {MAX_MESSAGE_BYTES + 1}",
    ]


def test_an_error_without_words_is_named_by_its_kind() -> None:
    """`MemoryError()` says nothing by itself."""
    harness = Harness()
    harness.announce(1)
    harness.fetch()
    (opening,) = harness.runs
    harness.handle(RunFailed(opening.key, MemoryError()))
    assert harness.noted("model_not_loaded")[0]["reason"] == "MemoryError"


def test_what_was_not_asked_for_is_let_go() -> None:
    """An answer of an attempt before does not pass for one of this."""
    harness = Harness()
    harness.announce(1)
    harness.handle(Fetched(ModelKey("sum"), MemorySink(1)))
    assert not harness.runs
    harness.settle()
    assert harness.core.versions == {"sum": 1}


def test_what_comes_too_late_changes_nothing() -> None:
    """A timer or a blob of an attempt that is over is let go."""
    harness = Harness()
    harness.serve(1)
    harness.handle(Woke(LoadRetry("sum")))
    harness.handle(FetchFailed(WeightsFetch("sum"), "late"))
    harness.handle(RunFailed(VersionLoading("sum"), ValueError("late")))
    harness.handle(Fetched(WeightsFetch("sum"), MemorySink(1)))
    assert not harness.noted("model_not_loaded")
    assert not harness.fetches
    assert not harness.runs


# ── put aside ─────────────────────────────────────────────────────────────────────────────────────


def broken(harness: Harness, version: int) -> ModelLatest:
    """Announce a version whose spec no framework here can run."""
    latest = harness.announce(version, spec=harness.store(spec(architectures={"other": {}})))
    harness.settle()
    return latest


def test_a_version_that_can_never_load_is_put_aside() -> None:
    """It is not fetched again and again; the one before answers, and a newer one takes over."""
    harness = Harness()
    harness.serve(1)
    latest = broken(harness, 2)
    assert [noted["version"] for noted in harness.noted("model_put_aside")] == [2]
    fetched = len(harness.fetched)
    harness.wait(600)
    harness.handle(Received("", latest))
    harness.settle()
    assert len(harness.fetched) == fetched
    assert len(harness.noted("model_put_aside")) == 1
    harness.ask()
    harness.settle()
    assert harness.answer()["version"] == 1
    harness.serve(3)
    assert harness.core.versions == {"sum": 3}


def test_an_encrypted_version_is_put_aside_unread() -> None:
    """The last readable version keeps answering; nothing of the encrypted one is fetched."""
    harness = Harness()
    harness.serve(1)
    fetched = len(harness.fetched)
    anchor = harness.store(weights(1))
    encryption = EncryptedVersion(
        scheme="bfv", key="a" * 64, parameters="b" * 64, anchor=1, anchor_weights=anchor
    )
    harness.serve(2, encryption=encryption)
    assert len(harness.fetched) == fetched
    (noted,) = harness.noted("model_put_aside")
    assert noted["reason"] == (
        "it is encrypted, so this service cannot read it; a key holder makes a version that it can "
        "read: `fedbus models release sum --key FILE`"
    )
    harness.ask()
    harness.settle()
    assert harness.answer()["version"] == 1
    harness.serve(3)
    assert harness.core.versions == {"sum": 3}


def test_a_newer_version_is_brought_when_one_is_put_aside() -> None:
    """It was announced while the bad one was on its way."""
    harness = Harness()
    harness.announce(1, spec=harness.store(spec(architectures={"other": {}})))
    harness.announce(2)
    harness.settle()
    assert harness.core.versions == {"sum": 2}


@pytest.mark.parametrize("error", [TrialNotRun("no memory for a child"), MemoryError()])
def test_what_is_wrong_with_this_machine_is_tried_again(error: Exception) -> None:
    """The version may be a good one."""
    harness = Harness()
    harness.announce(1)
    while harness.fetch() or harness.run(SpecReading):
        pass
    (loading,) = harness.runs
    harness.runs.clear()
    harness.fail(loading.key, error)
    assert not harness.noted("model_put_aside")
    harness.wait(1)
    harness.settle()
    assert harness.core.versions == {"sum": 1}


@pytest.mark.parametrize("error", [MemoryError(), OSError("disk")])
def test_a_machine_that_lacks_memory_puts_nothing_aside(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is tried on a row of zeros, which takes some."""

    def predict(_self: Sums, _inputs: object) -> NoReturn:
        raise error

    harness = Harness()
    with monkeypatch.context() as patch:
        patch.setattr(Sums, "predict", predict)
        harness.serve(1)
    assert not harness.noted("model_put_aside")
    harness.wait(1)
    harness.settle()
    assert harness.core.versions == {"sum": 1}


def test_a_restart_answers_with_the_last_version_that_did(tmp_path: Path) -> None:
    """The broker retains the newest only, which is put aside; the repository has the other."""
    first = Harness(last_good=LastGood(tmp_path))
    first.serve(1)
    second = Harness(last_good=LastGood(tmp_path), blobs=first.blobs)
    broken(second, 2)
    assert second.core.versions == {"sum": 1}
    second.ask()
    second.settle()
    assert second.answer()["version"] == 1
    second.serve(3)
    assert second.core.versions == {"sum": 3}


def test_a_restart_that_finds_nothing_says_why(tmp_path: Path) -> None:
    """Nothing answered before, or what did is gone from the repository, or broken as well."""
    harness = Harness(last_good=LastGood(tmp_path))
    broken(harness, 2)
    harness.ask()
    assert (
        "version 2 is put aside: the model has architectures for other" in harness.answer()["error"]
    )
    LastGood(tmp_path).save(Harness().announce(1))
    harness = Harness(last_good=LastGood(tmp_path))
    broken(harness, 2)
    assert harness.noted("model_not_loaded")[0]["version"] == 1
    LastGood(tmp_path).save(broken(Harness(), 2))
    harness = Harness(last_good=LastGood(tmp_path))
    broken(harness, 2)
    assert len(harness.noted("model_put_aside")) == 1


def test_the_last_good_version_is_not_brought_beside_a_newer_one(tmp_path: Path) -> None:
    """It came while the disk was asked."""
    first = Harness(last_good=LastGood(tmp_path))
    first.serve(1)
    harness = Harness(last_good=LastGood(tmp_path), blobs=first.blobs)
    harness.announce(2, spec=harness.store(spec(architectures={"other": {}})))
    while not any(isinstance(run.key, LastGoodLookup) for run in harness.runs):
        assert harness.fetch() or harness.run()
    harness.announce(3)
    harness.settle()
    assert harness.core.versions == {"sum": 3}
    assert [sums.bias for sums in harness.loaded] == [3]


def test_a_lookup_without_a_result_starts_no_second_load() -> None:
    """It was loaded twice, and the second was recorded as the version announced meanwhile."""
    harness = Harness()
    harness.announce(1, spec=harness.store(spec(architectures={"other": {}})))
    while not any(isinstance(run.key, LastGoodLookup) for run in harness.runs):
        assert harness.fetch() or harness.run()
    harness.announce(2)
    while harness.fetch() or harness.run(SpecReading):
        pass
    harness.run(LastGoodLookup)
    assert [type(run.key) for run in harness.runs] == [VersionLoading]
    harness.announce(3)
    harness.settle()
    assert harness.core.versions == {"sum": 3}
    harness.ask([1, 1, 1])
    harness.settle()
    assert harness.answer()["outputs"] == [[6]]


def test_a_failed_lookup_of_the_last_good_version_fails_no_other() -> None:
    """It is another run than that of the version that is being loaded."""
    harness = Harness()
    harness.announce(1, spec=harness.store(spec(architectures={"other": {}})))
    while not any(isinstance(run.key, LastGoodLookup) for run in harness.runs):
        assert harness.fetch() or harness.run()
    harness.announce(2)
    lookup = next(run for run in harness.runs if isinstance(run.key, LastGoodLookup))
    harness.runs.remove(lookup)
    harness.fail(lookup.key, MemoryError())
    assert not harness.noted("model_not_loaded")
    harness.settle()
    assert harness.core.versions == {"sum": 2}


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    """A disk that was full, another model's note; without a folder there is none."""
    (tmp_path / "sum.json").write_text(text)
    assert LastGood(tmp_path).load("sum") is None
    LastGood(tmp_path).save(Harness().announce(1))
    (tmp_path / "sum.json").rename(tmp_path / "other.json")
    assert LastGood(tmp_path).load("other") is None
    LastGood().save(Harness().announce(1))
    assert LastGood().load("sum") is None
    LastGood(tmp_path / "other.json").save(Harness().announce(1))


# ── one model for many versions ───────────────────────────────────────────────────────────────────


def test_versions_take_turns_in_two_models() -> None:
    """TFLite never gives a model's memory back: a new one for each version would be a leak."""
    harness = Harness()
    for version in range(1, 10):
        harness.serve(version)
        harness.ask([1, 1, 1])
        harness.settle()
        assert harness.answer()["outputs"] == [[3 + version]]
    assert (len(harness.loaded), harness.reloaded) == (2, 7)


@pytest.mark.parametrize("ends", ["answered", "broke"])
def test_a_model_that_still_answers_takes_no_other_weights(ends: str) -> None:
    """A batch is answered by the version it was started with; then that model can be reused."""
    harness = Harness()
    harness.serve(1)
    harness.serve(2)
    harness.ask([1, 1, 1])
    (predicting,) = harness.runs
    harness.runs.clear()
    harness.announce(3)
    harness.settle()  # into the model of version 1
    harness.announce(4)
    harness.settle()  # that of version 2 is at work: a new one
    assert (len(harness.loaded), harness.reloaded, harness.loaded[1].bias) == (3, 1, 2)
    harness.runs.append(predicting)
    if ends == "broke":
        harness.runs.clear()
        harness.fail(predicting.key, ValueError("no"))
    harness.settle()
    assert harness.answer().get("version", 2) == 2
    harness.serve(5)
    assert (len(harness.loaded), harness.reloaded) == (3, 2)


def test_a_spare_of_another_spec_is_let_go() -> None:
    """Its architecture is another."""
    harness = Harness()
    harness.serve(1)
    harness.serve(2)
    harness.serve(3, spec=harness.store(spec(architectures={"sums": {"depth": 3}})))
    assert (len(harness.loaded), harness.reloaded) == (3, 0)


def test_a_large_replaced_model_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would double what the service holds, all the time."""
    monkeypatch.setattr(model_updater, "MAX_REUSED_BYTES", 10)
    harness = Harness()
    for version in (1, 2, 3):
        harness.serve(version)
    assert (len(harness.loaded), harness.reloaded) == (3, 0)


def vars_of(blob_ref: BlobRef) -> dict[str, object]:
    """Write a blob_ref as a spec does."""
    return {"digest": blob_ref.digest, "size": blob_ref.size}
