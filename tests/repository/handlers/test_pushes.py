"""Pushes of models by users."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.core.events import Received, RunFailed
from fedbus.errors import StoreError
from fedbus.limits import MAX_MESSAGE_BYTES, MAX_SPEC_FILE_BYTES
from fedbus.model.blob import encode
from fedbus.model.layout import Layout
from fedbus.simulation.oracle import check_records
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.documents import TensorSpec
from fedbus.wire.messages import ModelPushed, PushModel, RequestRefused
from fedbus_repository.handlers import pushed_contents
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.stores.base import Store
from tests.fedbus.frameworks.model_files_data import model_file
from tests.repository.harness import (
    AGENTS,
    FILE,
    JOB,
    LAYOUT,
    MODEL,
    USER,
    Harness,
    begin,
    plain,
    plan_of,
    push,
    put,
    record_of,
    ref_of,
    spec,
    update,
    weights,
)


def push_of(stated: bytes = spec(), content: bytes = weights(0.0)) -> PushModel:
    """A user's wish."""
    return PushModel(model=MODEL, spec=blob_ref_of(stated), weights=blob_ref_of(content))


PUSH = push_of()


def refusal(harness: Harness, message: PushModel = PUSH) -> str:
    """Push, and return why not."""
    [answer] = harness.receive(USER, message)
    assert isinstance(answer, RequestRefused)
    assert answer.about == MODEL
    assert not harness.fetching
    return answer.reason


def test_a_model_is_fetched_whole_and_announced(harness: Harness, store: Store) -> None:
    """Its spec, then its weights and the file the spec names."""
    harness.serve(spec(), weights(0.0), FILE)
    answers = harness.receive(USER, PUSH)
    [version] = store.latest()
    assert answers == [ModelPushed(version=ref_of(version))]
    assert (harness.latest[-1].version, harness.latest[-1].parent, harness.latest[-1].job) == (
        1,
        None,
        None,
    )
    assert store.holds(blob_ref_of(FILE))
    assert check_records(store).versions == 1


def test_the_same_push_again_is_the_same_version(harness: Harness) -> None:
    """Its first answer may have been lost."""
    harness.serve(spec(), weights(0.0), FILE)
    first = harness.receive(USER, PUSH)
    assert harness.receive(USER, PUSH) == first


def test_a_push_that_is_repeated_meanwhile_is_fetched_once(harness: Harness) -> None:
    """At each of its stages."""
    for content in (spec(), FILE, weights(0.0)):
        assert harness.receive(USER, PUSH) == []
        before = set(harness.fetching)
        assert harness.receive(USER, PUSH) == []
        assert set(harness.fetching) == before
        harness.serve(content)
        harness.run_all()
    assert len(harness.sent) == 1


def test_a_further_version_fetches_only_what_is_new(harness: Harness, store: Store) -> None:
    """The spec and its file are here since the first."""
    first = push(store, 0.0)
    harness.serve(weights(1.0))
    [answer] = harness.receive(USER, push_of(content=weights(1.0)))
    assert (answer.version.version, store.latest()[0].parent) == (2, first.version)


def test_another_push_of_the_model_supersedes_the_first(harness: Harness) -> None:
    """The user pressed Ctrl-C and pushed something better; the first answer is no longer needed."""
    harness.receive(USER, PUSH)
    better = push_of(content=weights(1.0))
    assert harness.receive(USER, better) == []
    assert not harness.fetching
    harness.serve(spec(), weights(1.0), FILE)
    assert harness.receive(USER, better)[0].version.weights == better.weights


def test_a_model_in_training_is_refused(harness: Harness, store: Store) -> None:
    """Its next round would have another parent."""
    begin(store)
    assert "is being trained by job" in refusal(harness, push_of(content=weights(1.0)))


def test_a_huge_spec_is_refused_unfetched(harness: Harness) -> None:
    """Nothing is allocated for it."""
    reason = refusal(harness, push_of(stated=bytes(MAX_MESSAGE_BYTES + 1)))
    assert reason == "expected a model spec of at most 1048576 bytes, got 1048577"


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        (b"{}", "the model spec: ModelSpec.model: Field required"),
        (spec(model="faces"), "the model spec: expected model 'digits', got 'faces'"),
        (
            spec().replace(b'"float32"', b'"float31"', 1),
            "the model spec: tensor 'bias': dtype 'float31' is none of",
        ),
        (
            spec(architectures={"tflite": {"blob": "a file"}}),
            "the model spec: architectures.tflite.blob: BlobRef",
        ),
        (
            spec(
                architectures={
                    "tflite": {"blob": plain(blob_ref_of(FILE)) | {"size": MAX_SPEC_FILE_BYTES + 1}}
                }
            ),
            "the model spec: architectures: expected files of at most ",
        ),
        (
            spec(classes=("cat", "dog", "cat")),
            "the model spec: classes: expected each name once, got 'cat' 2 times",
        ),
        (spec(input={"shape": [-1]}), "the model spec: input.shape is [-1]; expected at most 8"),
        (spec(input={"shape": 64}), "the model spec: input.shape is 64; expected at most 8"),
        (
            spec(input={"shape": [64], "dtype": ["float32"]}),
            "the model spec: input.dtype is ['float32']; expected one of",
        ),
        (
            spec(input={"x": {"data_types": 7}}),
            "the model spec: input: expected data_types with one of",
        ),
        (
            spec(architectures={"torch": {"scale": 1.5}}).replace(b"1.5", b"NaN"),
            "the model spec: ModelSpec: architectures.torch.scale: NaN",
        ),
        (
            spec().replace(b"{", b'{"model": "faces", ', 1),
            "the model spec: ModelSpec: ",
        ),
    ],
    ids=[
        *("no spec", "other model", "impossible layout", "no blob_ref", "huge file"),
        *("a class twice", "negative shape", "no shape", "no dtype", "no data types"),
        *("not a number", "a key twice"),
    ],
)
def test_a_spec_that_cannot_be_used_is_refused(
    harness: Harness, stated: bytes, reason: str
) -> None:
    """Before anything else is fetched, with the sentence that says what is wrong."""
    harness.serve(stated, weights(0.0), FILE)
    assert refusal(harness, push_of(stated)).startswith(reason)


def test_weights_of_another_size_are_refused_unfetched(harness: Harness) -> None:
    """The layout says how many bytes there must be."""
    harness.serve(spec())
    assert refusal(harness, push_of(content=bytes(5000))) == (
        "the weights: expected the 36 bytes of the layout and a header, got 5000 bytes"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (update(0.0), "a delta blob where a plain one belongs"),
        (bytes(len(weights(0.0))), "not a weights blob"),
        (weights(0.0) + b"x", "a blob of"),
    ],
    ids=["a delta", "nonsense", "longer"],
)
def test_weights_that_do_not_fit_the_spec_are_refused(
    harness: Harness, store: Store, content: bytes, reason: str
) -> None:
    """Agents would find out one by one; and nothing of it is kept."""
    harness.serve(spec(), content, FILE)
    assert reason in refusal(harness, push_of(content=content))
    assert not any(store.holds(blob_ref_of(each)) for each in (spec(), content, FILE))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(
    harness: Harness, store: Store, odd: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One NaN makes every number that is trained from it a NaN; read in pieces, the last too."""
    monkeypatch.setattr(pushed_contents, "READ_NUMBERS", 2)
    arrays = {"bias": np.zeros(3, "f4"), "weight": np.zeros((2, 3), "f4")}
    arrays["weight"][1, 2] = odd
    content = bytes(encode(arrays, LAYOUT))
    harness.serve(spec(), content, FILE)
    assert refusal(harness, push_of(content=content)) == (
        f"tensor 'weight': expected finite numbers, got {odd}"
    )
    assert not any(store.holds(blob_ref_of(each)) for each in (spec(), content, FILE))


DIGITS = demo_data.read("digits.tflite")


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (DIGITS[:20000], "architectures.tflite: not a whole .tflite file: "),
        (b"<!DOCTYPE html>" * 99, "architectures.tflite: not a whole .tflite file: it begins with"),
        (
            DIGITS.replace(b"set_weights\0", b"sit_weights\0"),
            "architectures.tflite: the .tflite file has no signature 'set_weights'; it has",
        ),
        (
            DIGITS,
            "architectures.tflite: the weights of the .tflite file are not those of the spec's",
        ),
    ],
    ids=["half", "html", "not trainable", "of another model"],
)
def test_a_tflite_file_that_agents_cannot_use_is_refused(
    harness: Harness, store: Store, file: bytes, reason: str
) -> None:
    """Whatever program pushed it: it would crash agents and inference services repeatedly."""
    stated = spec(architectures={"tflite": {"blob": plain(blob_ref_of(file))}})
    harness.serve(stated, weights(0.0), file)
    assert refusal(harness, push_of(stated)).startswith(reason)
    assert not any(store.holds(blob_ref_of(each)) for each in (stated, weights(0.0), file))


EMPTY = bytes(encode({}, Layout((), may_be_empty=True)))


def run_only(file: bytes) -> bytes:
    """Write the spec of a model whose file holds its weights."""
    return spec(layout=(), architectures={"tflite": {"blob": plain(blob_ref_of(file))}})


def test_a_model_that_only_runs_is_stored_and_no_job_trains_it(
    harness: Harness, store: Store
) -> None:
    """Its layout is empty: the controller learns that from its needs."""
    file = model_file("plain.tflite")
    harness.serve(run_only(file), EMPTY, file)
    harness.receive(USER, push_of(run_only(file), EMPTY))
    [version] = store.latest()
    assert (version.model, version.version) == (MODEL, 1)
    needs = SpecReader(store).needs(version.spec)
    assert needs is not None
    assert not needs.trains
    assert SpecReader(store).shared_tensors(version.spec) == 0


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (model_file("plain.tflite")[:3000], "architectures.tflite: not a whole .tflite file"),
        (
            DIGITS,
            "architectures.tflite: the .tflite file can be trained, and the spec",
        ),
    ],
)
def test_a_file_that_cannot_only_run_is_refused(harness: Harness, file: bytes, reason: str) -> None:
    """Damaged, or one that a job could train."""
    harness.serve(run_only(file), EMPTY, file)
    assert refusal(harness, push_of(run_only(file), EMPTY)).startswith(reason)


@pytest.mark.parametrize(
    ("file", "layout", "reason"),
    [
        (model_file("plain.onnx"), (), ""),
        (model_file("plain.onnx")[:3000], (), "architectures.onnx: not an .onnx file that can be"),
        (model_file("plain.onnx"), None, "architectures.onnx: an .onnx file only runs"),
    ],
)
def test_an_onnx_file_is_stored_if_it_is_whole_and_the_layout_empty(
    harness: Harness, store: Store, file: bytes, layout: tuple[()] | None, reason: str
) -> None:
    """No agent trains it."""
    architectures = {"onnx": {"blob": plain(blob_ref_of(file))}}
    changes = {} if layout is None else {"layout": layout}
    stated = spec(architectures=architectures, **changes)
    content = EMPTY if layout is not None else weights(0.0)
    harness.serve(stated, content, file)
    if reason:
        assert refusal(harness, push_of(stated, content)).startswith(reason)
    else:
        harness.receive(USER, push_of(stated, content))
        assert store.latest()[0].version == 1


def test_a_tflite_architecture_without_a_file_is_refused(harness: Harness) -> None:
    """There is nothing that an agent could open."""
    stated = spec(architectures={"tflite": {"name": "mlp"}})
    harness.serve(stated, weights(0.0))
    assert (
        refusal(harness, push_of(stated))
        == "architectures.tflite: expected a file's digest and size in `blob`"
    )


def test_a_tflite_file_that_fits_its_spec_is_stored(harness: Harness) -> None:
    """With the layout that it exchanges."""
    stated = json.loads(demo_data.read("model.json"))
    layout = Layout.of({t["name"]: np.zeros(t["shape"], "f4") for t in stated["layout"]})
    specs = tuple(
        TensorSpec(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype)
        for tensor in layout.tensors
    )
    content = bytes(encode({t.name: np.zeros(t.shape, "f4") for t in layout.tensors}, layout))
    stated = spec(layout=specs, architectures={"tflite": {"blob": plain(blob_ref_of(DIGITS))}})
    harness.serve(stated, content, DIGITS)
    [answer] = harness.receive(USER, push_of(stated, content))
    assert isinstance(answer, ModelPushed)


def test_a_spec_of_other_bytes_is_refused(harness: Harness) -> None:
    """A digest names its content."""
    harness.receive(USER, PUSH)
    [key] = harness.fetching
    harness.deliver(key, json.dumps({}).encode().ljust(len(spec())))
    harness.run_all()
    assert "expected a spec of digest" in harness.sent[-1][1].reason


def test_a_file_of_other_bytes_is_refused(harness: Harness, store: Store) -> None:
    """So is one that the spec names."""
    harness.serve(spec(), weights(0.0))
    harness.receive(USER, PUSH)
    [key] = harness.fetching
    harness.deliver(key, b"?" * len(FILE))
    harness.run_all()
    assert "expected a blob of digest" in harness.sent[-1][1].reason
    assert store.latest() == ()


def test_a_blob_that_does_not_come_is_told(harness: Harness) -> None:
    """A user sees a sentence, not a progress bar that stands still."""
    harness.serve(spec())
    harness.receive(USER, PUSH)
    assert len(harness.fetching) == 2
    harness.fail_fetch(next(iter(harness.fetching)), "user.cli does not hold it")
    assert not harness.fetching
    harness.run_all()
    assert harness.sent[-1][1].reason == "user.cli does not hold it"


def test_a_store_that_fails_is_told(harness: Harness) -> None:
    """A user can do something about a full disk."""
    harness.handle(Received(USER, PUSH))
    harness.handle(RunFailed(harness.runs.popleft().key, StoreError("no space left")))
    assert harness.sent[-1][1].reason == "no space left"


def test_a_model_that_was_trained_is_reset_only_if_the_user_says_so(
    harness: Harness, store: Store
) -> None:
    """Before anything is fetched; the message's flag is what says so."""
    job = begin(store)
    store.store_plan(0, plan := plan_of(job))
    store.commit(record_of(plan, AGENTS[:1]), put(store, weights(1.0)))
    store.end_job(0, JOB, "finished", "")
    message = push_of(content=weights(5.0))
    assert "has been trained: version 2" in refusal(harness, message)
    harness.receive(USER, replace(message, reset=True))
    harness.serve(weights(5.0))
    harness.run_all()
    assert isinstance(harness.sent[-1][1], ModelPushed)
    assert harness.sent[-1][1].version.version == 3


def test_a_job_that_begins_meanwhile_keeps_its_base(harness: Harness, store: Store) -> None:
    """The push was offered before, and is weighed again when it is inserted."""
    push(store, 0.0)
    message = push_of(content=weights(1.0))
    harness.receive(USER, message)
    begin(store)
    harness.serve(weights(1.0))
    harness.run_all()
    assert "is being trained" in harness.sent[-1][1].reason
    assert not store.holds(message.weights)
