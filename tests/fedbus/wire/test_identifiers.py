"""The values messages are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.limits import MAX_BLOB_BYTES
from fedbus.wire.blobs import CHUNK_BYTES, BlobLocation, BlobRef, ModelRef, chunks_in
from fedbus.wire.identifiers import role_of
from tests.fedbus.wire.kinds import example


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (0, 1),
        (1, 1),
        (CHUNK_BYTES, 1),
        (CHUNK_BYTES + 1, 2),
        (2 * CHUNK_BYTES, 2),
        (MAX_BLOB_BYTES, 262_144),
    ],
)
def test_the_number_of_chunks_follows_from_the_size(size: int, count: int) -> None:
    """So no sender can state a wrong one; an empty blob has one, empty, chunk."""
    assert BlobRef(digest="0" * 64, size=size).count == count


@given(st.integers(0, MAX_BLOB_BYTES))
def test_chunks_hold_the_blob_and_none_is_empty(size: int) -> None:
    """Exactly, up to the largest blob we believe in."""
    count = chunks_in(size)
    assert (count - 1) * CHUNK_BYTES < max(1, size) <= count * CHUNK_BYTES


def test_a_model_names_the_node_that_serves_its_blobs() -> None:
    """For its weights as for its spec."""
    model = example(ModelRef)
    expected = BlobLocation(blob_ref=model.weights, source=model.source)
    assert model.location(model.weights) == expected


def test_a_role_ends_at_the_first_dot() -> None:
    """A name may hold dots of its own."""
    assert role_of("agent.pi.7") == "agent"
