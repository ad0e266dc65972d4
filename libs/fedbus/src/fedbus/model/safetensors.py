"""Named arrays in the safetensors format: a length, a JSON header, the numbers. Pure.

See https://github.com/huggingface/safetensors. The format holds nothing but numbers, and is simple
enough to read and write without that package.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from fedbus.errors import LayoutError
from fedbus.model.layout import Array, Weights

MAX_HEADER_BYTES: Final = 100 * 2**20
_LENGTH: Final = struct.Struct("<Q")
_ALIGNMENT_BYTES: Final = 8
_NAMES: Final[Mapping[str, str]] = {
    "bool": "BOOL", "float16": "F16", "float32": "F32", "float64": "F64",
    "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
}  # fmt: skip
_DTYPES: Final = {name: dtype for dtype, name in _NAMES.items()}
_BFLOAT16: Final = "BF16"
_ERRORS: Final = (
    struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError,
)  # fmt: skip
"""Errors of a damaged header."""


def pack(weights: Weights, metadata: Mapping[str, str] | None = None) -> bytes:
    """Serialize arrays; `metadata` is text that is stored under `__metadata__`."""
    rows = ((name, each.dtype.name, each.shape, each.nbytes) for name, each in weights.items())
    little = (np.asarray(each, each.dtype.newbyteorder("<"), "C") for each in weights.values())
    return b"".join((head_of(rows, metadata), *(each.tobytes() for each in little)))


def head_of(
    rows: Iterable[tuple[str, str, tuple[int, ...], int]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return what is before the numbers, given name, dtype, shape and bytes of each array."""
    head: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, dtype, shape, size in rows:
        place = [at, at + size]
        head[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": place}
        at += size
    header = json.dumps(head, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _ALIGNMENT_BYTES)
    return _LENGTH.pack(len(header)) + header


def version_metadata(
    model: str, version: int, digest: str, job: str | None = None, round: int = 0
) -> dict[str, str]:
    """Return what the metadata of a file say of a version: text by name.

    `job` and `round` are those that made it; None: it was pushed, or that is not known.
    """
    about = {"format": "fedbus", "model": model, "version": str(version), "digest": digest}
    return about if job is None else {**about, "job": job, "round": str(round)}


def unpack(data: bytes) -> dict[str, Array]:
    """Deserialize arrays; bfloat16 is converted to float32, without loss.

    Raises:
        LayoutError: The data are not in this format, are truncated, or have a dtype that no layout
            has.
    """
    try:
        length = _LENGTH.unpack_from(data)[0]
        if length > min(MAX_HEADER_BYTES, len(data) - _LENGTH.size):
            raise LayoutError(f"a header of {length} bytes in a file of {len(data)}")
        start = _LENGTH.size + length
        head = json.loads(data[_LENGTH.size : start])
        body = memoryview(data)[start:]
        return {
            name: _array(name, entry, body)
            for name, entry in head.items()
            if name != "__metadata__"
        }
    except _ERRORS as error:
        raise LayoutError(f"not a safetensors file: {error}") from error


def _array(name: str, entry: Mapping[str, Any], body: memoryview) -> Array:
    (begin, end), kind = entry["data_offsets"], entry["dtype"]
    if kind != _BFLOAT16 and kind not in _DTYPES:
        raise LayoutError(f"tensor {name!r} is {str(kind)[:20]}, which no layout has")
    if not 0 <= begin <= end <= len(body):
        raise LayoutError(f"tensor {name!r}: bytes {begin} to {end} of {len(body)}")
    if any(length < 0 for length in entry["shape"]):
        raise LayoutError(f"tensor {name!r}: shape {entry['shape']}; no length is below 0")
    raw = body[begin:end]
    if kind == _BFLOAT16:  # the upper half of a float32
        numbers = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        dtype = np.dtype(_DTYPES[kind])
        numbers = np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)
    return numbers.reshape(entry["shape"])
