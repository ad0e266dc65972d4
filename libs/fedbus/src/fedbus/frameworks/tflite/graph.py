"""Verification of a subgraph of a `.tflite` file: tensors, operators and their order. Pure."""

import math
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Any, Final

import numpy as np

from fedbus.errors import WireError
from fedbus.frameworks.tflite.flatbuffer import Record
from fedbus.frameworks.tflite.flatbuffer_schema import (
    CALLEE,
    CALLING,
    CUSTOM,
    ELEMENT_BITS,
    RESOURCE,
    SCHEMA,
    STRING,
    UNIONS,
    VARIANT,
)
from fedbus.limits import MAX_DIMENSIONS

MAX_TENSOR_BYTES: Final = 2**31 - 1
"""A tensor with a batch of 1; many kernels of TFLite count in 32 bits."""
PASSED_OVER: Final = frozenset({6, 22, 53, 114})
"""DEQUANTIZE, RESHAPE, CAST and QUANTIZE: the numbers stay."""
MAX_GRAPH_NAME_BYTES: Final = 1024
MAX_STEPS: Final = 2**22
"""Tensors, operators, and their inputs and outputs, of all subgraphs."""


class File:
    """Data that all subgraphs of a file share, and a budget for checking them."""

    def __init__(self, model: Record, size: int) -> None:
        self.buffers: list[Record] = model.get("buffers", [])
        self.codes: list[Record] = model.get("operator_codes", [])
        self.size = size
        self._steps = 0
        self._strings: set[int] = set()

    def spend(self, where: str, steps: int) -> None:
        """Count checked items, which may be shared; raise WireError above `MAX_STEPS`."""
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise WireError(f"{where}: more than {MAX_STEPS} inputs, outputs, tensors, operators")

    def stored(self, number: int) -> int:
        """Return the size of a buffer in bytes; number 0 is always empty."""
        buffer = self.buffers[number] if number else {}
        return len(buffer["data"]) if "data" in buffer else int(buffer.get("size", 0))

    def check_strings(self, where: str, number: int) -> None:
        """Raise WireError unless a constant tensor holds the strings that it announces."""
        if number in self._strings:
            return
        data = self.buffers[number].get("data", np.empty(0, np.uint8))
        words = data[: len(data) // 4 * 4].view("<i4")
        count = int(words[0]) if len(words) else -1
        begin = 4 * (count + 2)
        ends = words[1 : count + 2]
        if count < 0 or len(ends) != count + 1 or ends[0] < begin or ends[-1] > len(data):
            raise WireError(f"{where}: {len(data)} bytes that do not hold {count} strings")
        if (np.diff(ends) < 0).any():
            raise WireError(f"{where}: a string that ends before it begins")
        self._strings.add(number)


class Subgraph:
    """One subgraph: its tensors, and the operators that compute them, in order."""

    def __init__(self, where: str, graph: Record, file: File) -> None:
        self._where = where
        self._graph = graph
        self._file = file
        self._tensors: list[Record] = graph.get("tensors", [])

    def check(self) -> Iterator[int]:
        """Check the subgraph, and yield the numbers of the subgraphs that it calls."""
        where, graph = self._where, self._graph
        operators = graph.get("operators", [])
        self._file.spend(where, len(self._tensors) + len(operators))
        values = [
            _check_tensor(f"{where}, tensor {n}", tensor, self._file)
            for n, tensor in enumerate(self._tensors)
        ]
        constant = frozenset(n for n, value in enumerate(values) if value is _Value.CONSTANT)
        known = {n for n, value in enumerate(values) if value is not _Value.COMPUTED}
        known.update(self._indices(f"{where}, its inputs", graph.get("inputs", ())))
        for n, operator in enumerate(operators):
            place = f"{where}, operator {n}"
            yield from self._check_operator(place, operator)
            inputs = self._indices(place, operator.get("inputs", ()), optional=True)
            if unknown := {*inputs} - known - {-1}:
                raise WireError(f"{place}: its input, tensor {min(unknown)}, is never computed")
            outputs = self._indices(place, operator.get("outputs", ()))
            if taken := constant.intersection(outputs):
                raise WireError(f"{place}: its output, tensor {min(taken)}, is a constant")
            known.update(outputs)
        outputs = self._indices(f"{where}, its outputs", graph.get("outputs", ()))
        if unknown := {*outputs} - known:
            raise WireError(f"{where}: its output, tensor {min(unknown)}, is never computed")

    def _check_operator(self, where: str, operator: Record) -> Iterator[int]:
        number = operator.get("opcode_index", 0)
        within(where, number, self._file.codes, "operator codes")
        code = self._file.codes[number]
        builtin = builtin_of(code)
        if builtin == CUSTOM and "custom_code" not in code:
            raise WireError(f"{where}: a custom operator without a name")
        if builtin < 0:
            raise WireError(f"{where}: the builtin operator {builtin}")
        begin = operator.get("large_custom_options_offset", 0)
        if begin + operator.get("large_custom_options_size", 0) > self._file.size:
            raise WireError(f"{where}: its options lie beyond the end of the file")
        self._indices(where, operator.get("intermediates", ()), optional=True)
        mutated = operator.get("mutating_variable_inputs", ())
        if len(mutated) not in {0, len(operator.get("inputs", ()))}:
            raise WireError(f"{where}: {len(mutated)} flags for its inputs")
        yield from map(int, _called(where, builtin, operator))

    def _indices(
        self, where: str, indices: "np.ndarray[Any, Any] | tuple[()]", *, optional: bool = False
    ) -> list[int]:
        """Check indices of tensors; -1 is an omitted input."""
        if not len(indices):
            return []
        self._file.spend(where, len(indices))
        numbers = np.asarray(indices)
        low, high = int(numbers.min()), int(numbers.max())
        if low < (-1 if optional else 0) or high >= len(self._tensors):
            odd = high if high >= len(self._tensors) else low
            raise WireError(f"{where}: tensor {odd} of {len(self._tensors)}")
        return [int(number) for number in numbers]


def _called(where: str, builtin: int, operator: Record) -> Iterator[int]:
    """Name the subgraphs that an operator calls; a number that is left out is 0."""
    found = set()
    for union in ("options", "options_2"):
        kind = operator.get(f"builtin_{union}_type", 0)
        options = operator.get(f"builtin_{union}")
        table = UNIONS[union].get(kind)
        if options is None or table is None:
            continue
        found.add(table)
        for name, code in SCHEMA[table]:
            if name.startswith(CALLEE):
                yield from [options.get(name, 0)] if code == "i" else options.get(name, ())
    if builtin in CALLING and CALLING[builtin] not in found:
        raise WireError(f"{where}: it has no {CALLING[builtin]}")


class _Value(Enum):
    """When a tensor has its value."""

    CONSTANT = auto()
    KEPT = auto()
    """Before any operator has run: a variable, or no element at all."""
    COMPUTED = auto()


def _check_tensor(where: str, tensor: Record, file: File) -> _Value:
    kind = tensor.get("type", 0)
    if kind not in ELEMENT_BITS and kind not in {STRING, RESOURCE, VARIANT}:
        raise WireError(f"{where}: of type {kind}, which is not known here")
    if "sparsity" in tensor:
        raise WireError(f"{where}: it is sparse, which is not read; convert it without sparsity")
    shape = _shape(where, tensor)
    if (size := size_of(tensor)) > MAX_TENSOR_BYTES:
        raise WireError(f"{where}: {size} bytes; at most {MAX_TENSOR_BYTES}")
    _check_quantization(where, tensor.get("quantization", {}), shape)
    number = tensor.get("buffer", 0)
    within(where, number, file.buffers, "buffers")
    stored = file.stored(number)
    if not stored:
        return _Value.KEPT if tensor.get("is_variable") or 0 in shape else _Value.COMPUTED
    if kind == STRING:
        file.check_strings(where, number)
    elif kind not in ELEMENT_BITS or stored != size:
        raise WireError(f"{where}: a buffer of {stored} bytes for {shape}, {size} bytes")
    return _Value.CONSTANT


def within(where: str, number: int, among: Sequence[object], what: str) -> None:
    """Refuse a number that names none of what there is."""
    if not 0 <= number < len(among):
        raise WireError(f"{where}: number {number} of {len(among)} {what}")


def text(found: memoryview | None, where: str) -> str:
    """Read a name, which must be there."""
    if not found or len(found) > MAX_GRAPH_NAME_BYTES:
        long = (
            f"a name of {len(found)} bytes, at most {MAX_GRAPH_NAME_BYTES}"
            if found
            else "it has no name"
        )
        raise WireError(f"{where}: {long}")
    try:
        return bytes(found).decode()
    except UnicodeDecodeError as error:
        raise WireError(f"{where}: a name that is not UTF-8") from error


def _shape(where: str, tensor: Record) -> tuple[int, ...]:
    lengths, open_lengths = tensor.get("shape", ()), tensor.get("shape_signature", ())
    if len(lengths) > MAX_DIMENSIONS or len(open_lengths) > MAX_DIMENSIONS:
        raise WireError(f"{where}: {len(lengths)} dimensions; at most {MAX_DIMENSIONS}")
    shape, signature = tuple(map(int, lengths)), tuple(map(int, open_lengths))
    if min(shape, default=0) < 0:
        raise WireError(f"{where}: shape {shape}; no length is below 0")
    alike = len(shape) == len(signature) and all(
        open_ in {-1, length} for open_, length in zip(signature, shape, strict=True)
    )
    if signature and not alike:
        raise WireError(f"{where}: shape {shape}, and {signature} as its open shape")
    return shape


def size_of(tensor: Record) -> int:
    """Count the bytes of a tensor with a batch of 1; 0 for what has no fixed size."""
    bits = ELEMENT_BITS.get(tensor.get("type", 0), 0)
    return (math.prod(int(length) for length in tensor.get("shape", ())) * bits + 7) // 8


def _check_quantization(where: str, quantization: Record, shape: Sequence[int]) -> None:
    scales, zeros = quantization.get("scale", ()), quantization.get("zero_point", ())
    axis = quantization.get("quantized_dimension", 0)
    if len(scales) > 1 and not 0 <= axis < len(shape):
        raise WireError(f"{where}: quantized along dimension {axis} of {len(shape)}")
    counts = {0, 1} if len(scales) <= 1 else {shape[axis]}
    if len(scales) not in counts or len(zeros) not in {0, 1, len(scales)}:
        raise WireError(f"{where}: {len(scales)} scales and {len(zeros)} zero points")


def builtin_of(code: Record) -> int:
    """Return the number of the builtin operator that an operator code means."""
    return int(max(code.get("deprecated_builtin_code", 0), code.get("builtin_code", 0)))


def operator_behind(graph: Record, index: int, codes: Sequence[Record]) -> int:
    """Return the builtin operator that computes a tensor of a checked subgraph; -1: none does.

    Operators that change the dtype or shape only are passed over.
    """
    for operator in reversed(graph.get("operators", [])):
        if index not in map(int, operator.get("outputs", ())):
            continue
        code = codes[operator.get("opcode_index", 0)]
        builtin = builtin_of(code)
        inputs = operator.get("inputs", ())
        if builtin not in PASSED_OVER or not len(inputs):
            return builtin
        index = int(inputs[0])
    return -1
