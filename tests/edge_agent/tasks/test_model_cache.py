"""Cache of models: what an agent does not fetch again."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedbus.blobs.spool import Spool, Spools
from fedbus.errors import LayoutError, StoreError, TransferError
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, ModelRef, blob_ref_of
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus_edge_agent.tasks.model_cache import MAX_INCOMPLETE_MODELS, MAX_MODELS, CachedModels
from tests.edge_agent.harness import FILE, SPEC, spec_of, version, weights_of

SPOOLS = Spools(1 << 20)


def spooled(data: bytes) -> Spool:
    """Write bytes into a spool."""
    spool = SPOOLS.make(len(data))
    spool.write(0, data)
    return spool


def add(models: CachedModels, ref: ModelRef, *blobs: bytes) -> None:
    """Add blobs of a version."""
    for data in blobs:
        models.add(ref, blob_ref_of(data), spooled(data))


def test_the_files_of_a_spec_are_known_once_it_is_cached() -> None:
    """Then only they are missing."""
    models, ref = CachedModels(), version()
    assert models.missing(ref) == [ref.weights, ref.spec]
    add(models, ref, SPEC)
    assert models.missing(ref) == [ref.weights, blob_ref_of(FILE)]
    add(models, ref, weights_of(1), FILE)
    assert models.missing(ref) == []
    assert models.model(ref).files == {blob_ref_of(FILE).digest: FILE}
    assert models.sizes() == {"tiny": len(FILE)}


def test_a_file_whose_spec_was_dropped_is_fetched_again_with_it() -> None:
    """Other models took its place."""
    models, ref = CachedModels(), version()
    add(models, ref, FILE, SPEC, weights_of(1))
    assert models.missing(ref) == [blob_ref_of(FILE)]


def test_only_the_files_of_the_architecture_that_is_used_are_fetched() -> None:
    """A phone needs no file of a framework that it does not have."""
    other = b"another architecture's file"
    spec = spec_of(
        tiny={"blob": codec.to_plain(blob_ref_of(FILE))},
        other={"blob": codec.to_plain(blob_ref_of(other))},
    )
    models, ref = CachedModels(lambda _spec, wanted: wanted or "tiny"), version(1, spec)
    add(models, ref, spec, weights_of(1))
    assert models.missing(ref) == [blob_ref_of(FILE)]
    assert models.missing(ref, "other") == [blob_ref_of(other)]
    add(models, ref, FILE)
    assert models.missing(ref) == []
    assert CachedModels().missing(ref) == [ref.weights, ref.spec]


def test_a_spec_larger_than_a_message_is_not_fetched() -> None:
    """It is decoded like a message."""
    ref = replace(version(), spec=BlobRef(digest="0" * 64, size=MAX_SPEC_BYTES + 1))
    with pytest.raises(TransferError, match="a spec of 1048577 bytes, at most 1048576"):
        CachedModels().missing(ref)


def test_weights_that_are_read_outlive_their_replacement() -> None:
    """The training thread reads them while the next version arrives."""
    models, ref = CachedModels(), version()
    add(models, ref, weights_of(1))
    held = models.weights(ref)
    add(models, version(2), weights_of(2))
    assert bytes(held) == weights_of(1)
    assert models.missing(ref)[0] == ref.weights


def test_damaged_weights_are_dropped_but_not_newer_ones() -> None:
    """They are fetched again."""
    models = CachedModels()
    add(models, version(2), weights_of(2))
    models.drop_weights(version(1))
    assert version(2).weights not in models.missing(version(2))
    models.drop_weights(version(2))
    assert version(2).weights in models.missing(version(2))


def test_a_bounded_number_of_models_is_cached() -> None:
    """The oldest is dropped first, and its spool is closed."""
    models, before = CachedModels(), SPOOLS.used
    for number in range(MAX_MODELS + 1):
        spec = spec_of(tiny={"number": number})
        ref = version(1, spec)
        other = ModelRef(
            model=f"m{number}",
            version=1,
            weights=ref.weights,
            spec=ref.spec,
            source=ref.source,
        )
        add(models, other, weights_of(1), spec)
        models.model(other)
    assert SPOOLS.used == before + MAX_MODELS * len(weights_of(1))
    first = version(1, spec_of(tiny={"number": 0}))
    assert first.spec in models.missing(first)
    refs = [version(1, spec_of(tiny={"gathered": n})) for n in range(MAX_INCOMPLETE_MODELS + 1)]
    for number, ref in enumerate(refs):
        add(models, ref, spec_of(tiny={"gathered": number}))
    assert models.spec(refs[0]) is None
    assert models.spec(refs[1]) is not None


def test_bytes_of_another_digest_are_refused() -> None:
    """Of specs and files at once; of weights, which may be large, later by the training thread."""
    models, ref = CachedModels(), version()
    with pytest.raises(TransferError, match="other bytes than its digest names"):
        models.add(ref, ref.spec, spooled(b"x" * ref.spec.size))
    models.add(ref, ref.weights, spooled(b"x" * ref.weights.size))


def test_a_spec_without_a_layout_is_refused() -> None:
    """Before anything else is fetched for it."""
    tensor = TensorSpec(name="w", shape=(0,), dtype="float32")
    spec = codec.to_json(ModelSpec(model="tiny", layout=(tensor,), architectures={}))
    with pytest.raises(LayoutError, match="every dimension"):
        CachedModels().add(version(1, spec), blob_ref_of(spec), spooled(spec))


def test_weights_that_a_full_disk_lost_cannot_be_read(tmp_path: Path) -> None:
    """The read is the first call that fails."""
    models, ref = CachedModels(), version()
    spool = Spools(0, tmp_path).make(ref.weights.size)
    spool._fault = "spool: No space left on device"  # noqa: SLF001 - what a full disk leaves
    models.add(ref, ref.weights, spool)
    with pytest.raises(StoreError, match="No space left"):
        models.weights(ref)


def test_an_architecture_may_have_no_file() -> None:
    """Then only the spec and the weights are fetched."""
    models = CachedModels()
    spec = spec_of(torch={"name": "mlp"})
    ref = version(1, spec)
    add(models, ref, spec, weights_of(1))
    assert models.missing(ref) == []
    assert isinstance(ref.spec, BlobRef)
