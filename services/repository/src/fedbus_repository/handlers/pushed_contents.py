"""Checks of the blobs of a pushed model, before they become a version.

The repository has no framework: it checks that weights are finite, and that a `.tflite` file is
valid, trainable and has the weights of the spec. The command that pushes a model also runs it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np

from fedbus.data.model_input import read_inputs
from fedbus.errors import LayoutError, TrainingError, WireError
from fedbus.frameworks.onnx.verify import verify as verify_onnx
from fedbus.frameworks.tflite.run_facts import check_runnable
from fedbus.frameworks.tflite.signatures import check_trainable
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES, read_header
from fedbus.model.encodings import encoding_named
from fedbus.model.layout import Layout
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.spec_files import named_files

READ_NUMBERS: Final = 1 << 17
TFLITE: Final = "tflite"
ONNX: Final = "onnx"

Read = Callable[[BlobRef, int, int], bytes]
"""Reads a blob: its ref, an offset, the number of bytes."""


def check_statements(spec: ModelSpec) -> None:
    """Raise WireError if agents and inference services could not use `classes` or `input`."""
    name, times = Counter(spec.classes).most_common(1)[0] if spec.classes else ("", 1)
    if times > 1:
        raise WireError(f"classes: expected each name once, got {name!r} {times} times")
    read_inputs(spec.input)
    if spec.raw_input:
        read_inputs(spec.raw_input)


def check_finite(weights: BlobRef, layout: Layout, read: Read) -> None:
    """Raise LayoutError if weights contain NaN or infinity; it names the tensor.

    Training from such weights could return nothing else.
    """
    header = read_header(read(weights, 0, MAX_BLOB_HEADER_BYTES))

    def data(at: int, length: int) -> bytes:
        return read(weights, header.offset + at, length)

    for block in encoding_named(header.encoding).blocks(data, layout, READ_NUMBERS):
        finite = np.isfinite(block.numbers)
        if not finite.all():
            odd = block.numbers[int(finite.argmin())]
            raise LayoutError(f"tensor {block.tensor.name!r}: expected finite numbers, got {odd}")


def check_architectures(spec: ModelSpec, layout: Layout, read: Read) -> None:
    """Raise TrainingError if a model file could crash its process, or does not fit the layout."""
    for name, architecture in spec.architectures.items():
        if name not in {TFLITE, ONNX}:
            continue
        try:
            (blob_ref,) = named_files([(name, architecture)])
            _check_file(name, read(blob_ref, 0, blob_ref.size), layout)
        except (ValueError, WireError) as error:
            raise TrainingError(
                f"architectures.{name}: expected a file's digest and size in `blob`"
            ) from error
        except TrainingError as error:
            raise TrainingError(f"architectures.{name}: {error}") from error


def _check_file(name: str, data: bytes, layout: Layout) -> None:
    if name == ONNX:
        if layout.tensors:
            raise TrainingError("an .onnx file only runs, and the layout of such a model is empty")
        verify_onnx(data)
    elif layout.tensors:
        check_trainable(verify(data), layout)
    else:
        check_runnable(verify(data))
