"""Blob of randomized features: what an agent of a MistNet job sends once. Pure.

    offset  bytes
    0       4      magic, b"FBF1"
    4       4      length of the map, unsigned, little-endian
    8       n      msgpack map of `FeatureHeader`
    …              the bits of all examples, each example begins with a byte of its own
    …              the labels, C order, little-endian

A reader checks the header and the size of the blob before it allocates anything. Nothing in a blob
is pickled.
"""

import math
import struct
from dataclasses import dataclass
from typing import Annotated, Final, cast

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import TrainingError, WireError
from fedbus.limits import MAX_BLOB_BYTES, MAX_DIMENSIONS, MAX_MODEL_NUMBERS
from fedbus.model.blob_header import Blob
from fedbus.model.layout import DTYPES, Array
from fedbus.privacy.unary_randomized_response import RandomBytes, packed_bytes, randomize
from fedbus.scalars import Bounds, Strict, Word
from fedbus.wire import codec

MAGIC: Final = b"FBF1"
_FIXED: Final = struct.Struct("<4sI")
_MAX_MAP_BYTES: Final = 1024

Side = Annotated[int, Strict(ge=1, le=MAX_MODEL_NUMBERS)]
Shape = Annotated[tuple[Side, ...], Bounds(max_length=MAX_DIMENSIONS)]
"""Shape of one row, without the number of rows; () for numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureHeader:
    """What the bytes of a blob are.

    Attributes:
        cut_layer: Number of the model's layers that computed the features.
        epsilon: Twice the ε of one bit.
        examples: Number of rows.
        shape: Shape of the features of one example, one bit each.
        label_shape: Shape of one label.
        label_dtype: numpy's name of the labels' dtype.
    """

    cut_layer: Annotated[int, Strict(ge=1, le=10_000)]
    epsilon: Annotated[float, Strict(gt=0, le=1000, allow_inf_nan=False)]
    examples: Annotated[int, Strict(ge=1, lt=2**40)]
    shape: Shape
    label_shape: Shape
    label_dtype: Word

    @property
    def features(self) -> int:
        """Number of features, and so of bits, of one example."""
        return math.prod(self.shape)

    @property
    def bits_size(self) -> int:
        """Bytes of the bits of all examples."""
        return self.examples * packed_bytes(self.features)

    @property
    def labels_size(self) -> int:
        """Bytes of all labels."""
        return self.examples * math.prod(self.label_shape) * np.dtype(self.label_dtype).itemsize


@dataclass(frozen=True, slots=True)
class SentFeatures:
    """The content of a blob: `packed` has shape (examples, bytes), `labels` (examples, …)."""

    header: FeatureHeader
    packed: NDArray[np.uint8]
    labels: Array


class FeatureEncoder:
    """Randomizes features batch by batch; of each example, only bits and label stay in memory."""

    def __init__(self, cut_layer: int, epsilon: float, random_bytes: RandomBytes) -> None:
        self._cut_layer, self._epsilon = cut_layer, epsilon
        self._random_bytes = random_bytes
        self._shape: tuple[int, ...] | None = None
        self._bits: list[NDArray[np.uint8]] = []
        self._labels: list[Array] = []

    def add(self, features: Array, labels: Array) -> None:
        """Randomize the features of a batch, shape (rows, …).

        Raises:
            TrainingError: The labels are no numbers, or other batches have another shape.
        """
        if labels.dtype.name not in DTYPES:
            raise TrainingError(f"labels of the dtype {labels.dtype}; MistNet sends numbers only")
        if self._shape is None:
            self._shape = features.shape[1:]
        first = self._labels[0] if self._labels else labels
        if features.shape[1:] != self._shape or labels.shape[1:] != first.shape[1:]:
            raise TrainingError("features or labels of several shapes in one data set")
        flat = features.reshape(len(features), -1)
        self._bits.append(randomize(flat, self._epsilon, self._random_bytes))
        self._labels.append(labels)

    @property
    def examples(self) -> int:
        """Number of examples so far."""
        return sum(map(len, self._labels))

    def blob(self) -> bytes:
        """Return the blob of all batches, with the labels as they are: nothing protects these.

        Raises:
            TrainingError: There are no examples, or features of no or too many dimensions.
        """
        labels = np.concatenate(self._labels) if self._labels else np.empty(0, np.int64)
        header = FeatureHeader(
            cut_layer=self._cut_layer,
            epsilon=self._epsilon,
            examples=self.examples,
            shape=self._shape or (),
            label_shape=labels.shape[1:],
            label_dtype=labels.dtype.name,
        )
        try:
            fields = codec.pack(codec.unpack(FeatureHeader, codec.pack(header)))
        except WireError as error:
            raise TrainingError(f"features that cannot be sent: {error}") from error
        little = np.ascontiguousarray(labels, labels.dtype.newbyteorder("<"))
        head = _FIXED.pack(MAGIC, len(fields)) + fields
        return b"".join((head, *(bits.tobytes() for bits in self._bits), little.tobytes()))


def decode_features(blob: Blob) -> SentFeatures:
    """Read a blob as views of its memory.

    Raises:
        TrainingError: Its header is not valid, or its size is not that of its header.
    """
    view = memoryview(blob).cast("B")
    if len(view) > MAX_BLOB_BYTES or len(view) < _FIXED.size or bytes(view[:4]) != MAGIC:
        raise TrainingError(
            f"{len(view)} bytes that begin with {bytes(view[:4])!r} are no features"
        )
    length = cast("int", _FIXED.unpack_from(view)[1])
    start = _FIXED.size + length
    if length > _MAX_MAP_BYTES or start > len(view):
        raise TrainingError(f"features with a header of {length} bytes; at most {_MAX_MAP_BYTES}")
    header = _header(bytes(view[_FIXED.size : start]))
    middle, end = start + header.bits_size, start + header.bits_size + header.labels_size
    if end != len(view):
        raise TrainingError(f"features of {len(view)} bytes; their header announces {end}")
    packed = np.frombuffer(view[start:middle], np.uint8)
    labels = np.frombuffer(view[middle:end], np.dtype(header.label_dtype).newbyteorder("<"))
    return SentFeatures(
        header,
        packed.reshape(header.examples, packed_bytes(header.features)),
        labels.reshape(header.examples, *header.label_shape),
    )


def _header(fields: bytes) -> FeatureHeader:
    try:
        header = codec.unpack(FeatureHeader, fields)
    except WireError as error:
        raise TrainingError(f"features with a header that cannot be read: {error}") from error
    if header.label_dtype not in DTYPES:
        raise TrainingError(f"features with labels of the dtype {header.label_dtype!r}")
    return header
