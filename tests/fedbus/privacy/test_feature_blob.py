"""Blobs of randomized features: what is written is read, and nothing else is."""

from typing import Any, cast

import msgpack
import numpy as np
import pytest

from fedbus.errors import TrainingError
from fedbus.privacy.feature_blob import FeatureEncoder, FeatureHeader, decode_features


def certain(size: int) -> bytes:
    """Draw numbers with which no bit flips."""
    return b"\xff" * size


def encoded(features: Any, labels: Any, size: int = 100) -> bytes:  # noqa: ANN401 - arrays
    """Return features without flips, of layer 4, in batches of a size."""
    encoder = FeatureEncoder(4, 2.5, certain)
    for start in range(0, len(features), size):
        encoder.add(features[start : start + size], labels[start : start + size])
    return encoder.blob()


def test_features_and_labels_are_read_as_they_were_sent() -> None:
    """Bits are those of the features, labels are unchanged, and shapes are kept."""
    features = np.random.default_rng(1).normal(size=(7, 3, 5)).astype(np.float32)
    labels = np.arange(14, dtype=np.int64).reshape(7, 2)
    sent = decode_features(encoded(features, labels, 3))
    assert sent.header == FeatureHeader(
        cut_layer=4, epsilon=2.5, examples=7, shape=(3, 5), label_shape=(2,), label_dtype="int64"
    )
    bits = np.unpackbits(sent.packed, axis=1, count=15)
    np.testing.assert_array_equal(bits, features.reshape(7, 15) > 0)
    np.testing.assert_array_equal(sent.labels, labels)


def test_labels_that_are_no_numbers_are_refused() -> None:
    """Strings and objects would need pickle."""
    with pytest.raises(TrainingError, match="sends numbers only"):
        encoded(np.ones((1, 2)), np.array(["a"]))


def test_features_without_an_example_are_refused() -> None:
    """There is nothing to send."""
    with pytest.raises(TrainingError, match=r"cannot be sent: FeatureHeader\.examples"):
        encoded(np.ones((0, 2)), np.ones(0))


@pytest.mark.parametrize(("width", "label"), [(4, ()), (3, (1,))])
def test_batches_of_several_shapes_are_refused(width: int, label: tuple[int, ...]) -> None:
    """One header describes all rows."""
    encoder = FeatureEncoder(1, 1.0, certain)
    encoder.add(np.ones((2, 3)), np.ones(2))
    with pytest.raises(TrainingError, match="several shapes"):
        encoder.add(np.ones((2, width)), np.ones((2, *label)))


def blob(extra: bytes = b"", **changed: Any) -> bytes:  # noqa: ANN401 - any value of a field
    """Return a blob of one example whose header has other fields."""
    header = {
        "cut_layer": 1,
        "epsilon": 1.0,
        "examples": 1,
        "shape": [8],
        "label_shape": [],
        "label_dtype": "int64",
        **changed,
    }
    fields = cast("bytes", msgpack.packb(header))
    return b"FBF1" + len(fields).to_bytes(4, "little") + fields + bytes(9) + extra


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "are no features"),
        (b"FBW1" + bytes(90), "are no features"),
        (b"FBF1\xff\xff\xff\xff", "a header of 4294967295 bytes"),
        (b"FBF1\x09\0\0\0abc", "a header of 9 bytes"),
        (b"FBF1\x02\0\0\0\xc1\xc1", "a header that cannot be read"),
        (blob(b"x"), "their header announces"),
        (blob(examples=2**39), "their header announces"),
        (blob(examples=0), "examples"),
        (blob(epsilon=0.0), "epsilon"),
        (blob(shape=[2**40]), "shape"),
        (blob(label_dtype="object"), "labels of the dtype 'object'"),
        (blob(label_dtype="V1000000000"), "labels of the dtype"),
    ],
)
def test_bytes_that_are_no_features_are_refused(data: bytes, sentence: str) -> None:
    """Each fault is found in the header or in the size, before anything is allocated."""
    with pytest.raises(TrainingError, match=sentence):
        decode_features(data)


def test_the_bytes_of_these_tests_are_features_but_for_their_change() -> None:
    """A blob without a change is read."""
    assert decode_features(blob()).header.features == 8
