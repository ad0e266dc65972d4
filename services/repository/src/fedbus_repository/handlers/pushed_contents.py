"""What is inside the blobs of a pushed model, verified before they become a version.

The repository has no framework: it checks that weights are finite numbers, and that a `.tflite`
file is whole, trains, and has the weights of the spec. What only running it tells, the command that
pushes it has tried.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np

from fedbus.data.model_input import read_input
from fedbus.errors import LayoutError, TrainingError, WireError
from fedbus.frameworks.tflite.signatures import check_trainable
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.blob import MAX_PREFIX, read_header
from fedbus.model.layout import Layout
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.model_spec import named_files

BLOCK: Final = 1 << 20
TFLITE: Final = "tflite"

Read = Callable[[BlobRef, int, int], bytes]
"""Bytes of a blob, from an offset, at most so many."""


def check_claims(spec: ModelSpec) -> None:
    """Refuse a spec whose `classes` or `input` agents and inference could not use.

    Raises:
        WireError: names the key, what it holds, and what was expected.
    """
    name, times = Counter(spec.classes).most_common(1)[0] if spec.classes else ("", 1)
    if times > 1:
        raise WireError(f"classes name {name!r} {times} times; expected each name once")
    read_input(spec.input)


def check_finite(weights: BlobRef, layout: Layout, read: Read) -> None:
    """Refuse weights with a NaN or an infinity: whoever trains from them gets nothing else.

    Raises:
        LayoutError: names the tensor.
    """
    offset = read_header(read(weights, 0, MAX_PREFIX)).offset
    for tensor in layout.tensors:
        dtype = np.dtype(tensor.dtype)
        for at in range(0, tensor.size, BLOCK) if dtype.kind == "f" else ():
            part = read(weights, offset + at, min(BLOCK, tensor.size - at))
            numbers = np.frombuffer(part, dtype.newbyteorder("<"))
            if not (finite := np.isfinite(numbers)).all():
                odd = numbers[int(finite.argmin())]
                raise LayoutError(f"tensor {tensor.name!r}: {odd} is not a finite number")
        offset += tensor.size


def check_architectures(spec: ModelSpec, layout: Layout, read: Read) -> None:
    """Refuse a `.tflite` file that would end the process of whoever opens it, or is of no use.

    Raises:
        TrainingError: names the architecture, and the place in the file.
    """
    for name, architecture in spec.architectures.items():
        if name != TFLITE:
            continue
        try:
            (blob_ref,) = named_files([(name, architecture)])
            facts = verify(read(blob_ref, 0, blob_ref.size))
            check_trainable(facts, layout)
        except (ValueError, WireError) as error:
            raise TrainingError(f"architectures.{name}: it has no file in `blob`") from error
        except TrainingError as error:
            raise TrainingError(f"architectures.{name}: {error}") from error
