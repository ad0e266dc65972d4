"""Verification of `.onnx` files before onnxruntime's native code opens them. Pure.

Read with Python alone: the message itself (`protobuf_reader`), sizes of tensors against their
bytes, names and formats of inputs and outputs. Refused are data in other files, operators that
onnxruntime does not have built in, and inputs or outputs that are no arrays. What only the kernels
can detect is found by a trial in a process of its own (`trial`).

Source: onnx.proto of ONNX 1.17, github.com/onnx/onnx.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fedbus.errors import TrainingError, WireError
from fedbus.frameworks.onnx.protobuf_reader import Message, ProtobufReader, Table
from fedbus.frameworks.outputs import OutputActivation
from fedbus.limits import MAX_DIMENSIONS
from fedbus.text import listed

_TABLES: Final[Mapping[str, Table]] = {
    "model": {
        1: ("ir_version", "int"), 7: ("graph", "graph"), 8: ("opset_import", "opset"),
        20: ("training_info", "size"), 25: ("functions", "function"),
    },
    "opset": {1: ("domain", "text"), 2: ("version", "int")},
    "graph": {
        1: ("node", "node"), 2: ("name", "text"), 5: ("initializer", "tensor"),
        11: ("input", "value"), 12: ("output", "value"), 15: ("sparse", "sparse_tensor"),
    },
    "node": {
        1: ("input", "text"), 2: ("output", "text"), 4: ("op_type", "text"),
        5: ("attribute", "attribute"), 7: ("domain", "text"),
    },
    "attribute": {
        1: ("name", "text"), 5: ("t", "tensor"), 6: ("g", "graph"), 10: ("tensors", "tensor"),
        11: ("graphs", "graph"), 22: ("sparse", "sparse_tensor"), 23: ("sparse", "sparse_tensor"),
    },
    "tensor": {
        1: ("dims", "ints"), 2: ("data_type", "int"), 8: ("name", "text"), 9: ("raw_data", "size"),
        13: ("external_data", "size"), 14: ("data_location", "int"),
    },
    "sparse_tensor": {1: ("values", "tensor"), 2: ("indices", "tensor"), 3: ("dims", "ints")},
    "function": {1: ("name", "text"), 7: ("node", "node"), 10: ("domain", "text")},
    "value": {1: ("name", "text"), 2: ("type", "type")},
    "type": {1: ("tensor", "tensor_type")},
    "tensor_type": {1: ("elem_type", "int"), 2: ("shape", "shape")},
    "shape": {1: ("dim", "dimension")},
    "dimension": {1: ("value", "int"), 2: ("name", "text")},
}  # fmt: skip
_DTYPES: Final[Mapping[int, str]] = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
_BYTES: Final[Mapping[str, int]] = {"float64": 8, "int64": 8, "uint64": 8, "float32": 4} | {
    "int32": 4, "uint32": 4, "float16": 2, "int16": 2, "uint16": 2
}  # fmt: skip
_BUILT_IN: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains of the operators that onnxruntime has without a custom library."""
_EXTERNAL: Final = 1
_PASSED_OVER: Final = frozenset(
    {"Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze"}
)
"""Operators behind which the last operation of a model is looked for: the numbers stay."""
_UNSTEADY: Final = frozenset({
    "AffineGrid", "BeamSearch", "BlackmanWindow", "CenterCropPad", "Col2Im", "ConstantOfShape",
    "CropAndResize", "DFT", "Expand", "GreedySearch", "HammingWindow", "HannWindow", "If", "Loop",
    "MaxUnpool", "MelWeightMatrix", "OneHot", "Pad", "Range", "Resize", "STFT", "Sampling", "Scan",
    "SequenceMap", "Tile", "Upsample", "WhisperBeamSearch",
})  # fmt: skip
"""Operators whose time or output's size may depend on the numbers that they get."""
_NAME: Final = r"[!-~]{1,128}"
MAX_CONSTANT_BYTES: Final = 2**31 - 1
"""Of one tensor: protobuf itself ends there."""


@dataclass(frozen=True, slots=True)
class OnnxValue:
    """An input or output; in `shape`, -1 is an open length."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """Facts about a verified file.

    Attributes:
        operators: The operator that computes each output; "" for none.
        bytes: Size of all constants.
        is_steady: No operator's time depends on the numbers in the inputs.
    """

    inputs: Mapping[str, OnnxValue]
    outputs: Mapping[str, OnnxValue]
    operators: Mapping[str, str]
    bytes: int
    is_steady: bool = True

    @property
    def rows(self) -> int:
        """Return how many rows the model takes at once; -1: any number."""
        return next(iter(self.inputs.values())).shape[0]

    @property
    def output_activation(self) -> OutputActivation | None:
        """Return the last operation of a model with one output; None for one with several."""
        if len(self.operators) != 1:
            return None
        (operator,) = self.operators.values()
        words: dict[str, OutputActivation] = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
        return words.get(operator, "scores")


def verify(data: bytes | bytearray | memoryview) -> OnnxFacts:
    """Verify a file; raise TrainingError, which names the place, if it cannot be used."""
    try:
        return _facts(ProtobufReader(data, _TABLES).read("model"))
    except WireError as error:
        raise TrainingError(f"not an .onnx file that can be used: {error}") from error


def _facts(model: Message) -> OnnxFacts:
    graphs = model.get("graph", [])
    if len(graphs) != 1 or not model.get("ir_version") or not model.get("opset_import"):
        raise WireError("expected one graph, a version and operator sets, as ONNX models have")
    if model.get("training_info"):
        raise WireError("it has training information, which is not supported")
    (graph,) = graphs
    functions = model.get("functions", [])
    domains = _BUILT_IN | {_last(function, "domain") for function in functions}
    size, is_steady = 0, True
    for place, each in _graphs("graph", [graph, *functions]):
        for node in each.get("node", []):
            is_steady = is_steady and _last(node, "op_type") not in _UNSTEADY
            if (domain := _last(node, "domain")) not in domains:
                raise WireError(
                    f"{place}: operator {_last(node, 'op_type')[:64]!r} of {domain[:64]!r}; only "
                    "operators that onnxruntime has built in are run, and no custom library"
                )
        size += sum(_check_tensor(place, tensor) for tensor in _tensors(each))
    constants = {_last(tensor, "name") for tensor in graph.get("initializer", [])}
    given = [value for value in graph.get("input", []) if _last(value, "name") not in constants]
    inputs = _values("input", given)
    outputs = _values("output", graph.get("output", []))
    if len({value.shape[0] for value in inputs.values()}) > 1:
        raise WireError("its inputs differ in their first dimension, which must be the rows of all")
    operators = {name: _operator_behind(graph, name) for name in outputs}
    return OnnxFacts(inputs, outputs, operators, size, is_steady)


def _graphs(place: str, graphs: Iterable[Message]) -> Iterator[tuple[str, Message]]:
    """Yield graphs, and those in attributes of their nodes."""
    for graph in graphs:
        yield place, graph
        for node in graph.get("node", []):
            inner = f"{place}, node {_last(node, 'op_type')[:64]}"
            for attribute in node.get("attribute", []):
                yield from _graphs(inner, [*attribute.get("g", []), *attribute.get("graphs", [])])


def _tensors(graph: Message) -> Iterator[Message]:
    holders = [graph, *(a for node in graph.get("node", []) for a in node.get("attribute", []))]
    for holder in holders:
        for key in ("initializer", "t", "tensors"):
            yield from holder.get(key, [])
        for sparse in holder.get("sparse", []):
            yield from (*sparse.get("values", []), *sparse.get("indices", []))


def _check_tensor(place: str, tensor: Message) -> int:
    """Check a constant, and return its size in bytes where that is known."""
    name = f"{place}, tensor {_last(tensor, 'name')[:64]!r}"
    if tensor.get("external_data") or _last_int(tensor, "data_location") == _EXTERNAL:
        raise WireError(
            f"{name}: its data are in another file; save the model as one file "
            "(onnx.save_model with save_as_external_data=False)"
        )
    shape = tensor.get("dims", [])
    if len(shape) > MAX_DIMENSIONS or any(length >= 2**31 for length in shape):
        raise WireError(f"{name}: expected at most {MAX_DIMENSIONS} lengths below 2^31")
    width = _BYTES.get(_DTYPES.get(_last_int(tensor, "data_type"), ""), 0)
    size = math.prod(shape) * (width or 1)
    if size > MAX_CONSTANT_BYTES:
        raise WireError(f"{name}: expected at most {MAX_CONSTANT_BYTES} bytes, got {size}")
    held = tensor.get("raw_data", [])
    if width and held and held[-1] != size:
        raise WireError(f"{name}: {held[-1]} bytes where its shape {shape} needs {size}")
    return size


def _values(side: str, values: Iterable[Message]) -> dict[str, OnnxValue]:
    found: dict[str, OnnxValue] = {}
    for value in values:
        name = _last(value, "name")
        if not re.fullmatch(_NAME, name) or name in found:
            raise WireError(f"{side} {name[:64]!r}: expected another printable name for each")
        found[name] = _value(f"{side} {name!r}", value)
    if not found:
        raise WireError(f"the graph has no {side}")
    return found


def _value(where: str, value: Message) -> OnnxValue:
    types = [t for each in value.get("type", []) for t in each.get("tensor", [])]
    dtype = _DTYPES.get(_last_int(types[-1], "elem_type")) if types else None
    if dtype is None:
        raise WireError(
            f"{where}: expected an array of {listed(set(_DTYPES.values()))}; scikit-learn's models "
            "answer arrays if they are converted with zipmap=False"
        )
    shapes = types[-1].get("shape", [])
    if not shapes or not (dims := shapes[-1].get("dim", [])) or len(dims) > MAX_DIMENSIONS:
        raise WireError(
            f"{where}: expected 1 to {MAX_DIMENSIONS} dimensions, the first one for rows"
        )
    return OnnxValue(tuple(_length(where, dim) for dim in dims), dtype)


def _length(where: str, dimension: Message) -> int:
    length = _last_int(dimension, "value")
    if length >= 2**31:
        raise WireError(f"{where}: a length of {length}")
    return length or -1


def _operator_behind(graph: Message, name: str) -> str:
    """Return the operator that computes a value; operators in `_PASSED_OVER` are passed over."""
    for node in reversed(graph.get("node", [])):
        if name not in node.get("output", []):
            continue
        operator, inputs = _last(node, "op_type"), node.get("input", [])
        if operator not in _PASSED_OVER or not inputs:
            return operator
        name = inputs[0]
    return ""


def _last(message: Message, name: str) -> str:
    values = message.get(name, [])
    return str(values[-1]) if values else ""


def _last_int(message: Message, name: str) -> int:
    values = message.get(name, [])
    return int(values[-1]) if values else 0
