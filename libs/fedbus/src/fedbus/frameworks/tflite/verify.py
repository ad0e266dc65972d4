"""Verification of `.tflite` files before TFLite's native code opens them. Pure.

TFLite follows the offsets and indices in a file without checking them, so a truncated or changed
file ends the process that opens it. `verify` checks all of them in Python first: the FlatBuffer
(`flatbuffer.py`), then sizes of buffers against shapes and types, indices of tensors, operators,
buffers and subgraphs, the order in which tensors are computed (`graph.py`), and signatures
(`signatures.py` checks those that the trainer calls).

Some faults only the kernels can detect, such as options of an operator that do not fit its inputs;
for these `trial.py` runs a file once in a process of its own.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from fedbus.errors import TrainingError, WireError
from fedbus.frameworks.tflite.flatbuffer import Reader, Record
from fedbus.frameworks.tflite.flatbuffer_schema import (
    DTYPES,
    IDENTIFIER,
    SCHEMA,
    UNIONS,
    UNSTEADY,
    VERSION,
)
from fedbus.frameworks.tflite.graph import (
    File,
    Subgraph,
    builtin_of,
    operator_behind,
    size_of,
    text,
    within,
)
from fedbus.frameworks.tflite.signatures import SignatureFacts, TensorFacts, TfliteFacts

_NAME: Final = r"[!-~]{1,128}"
MAX_SUBGRAPHS: Final = 4096
MAX_CALLS: Final = 32
"""Depth of subgraphs that call each other; TFLite calls them on the native stack."""


def verify(data: bytes | bytearray | memoryview) -> TfliteFacts:
    """Verify a file; raise TrainingError, which names the place, if it is damaged."""
    try:
        return _Model(Reader(data, SCHEMA, UNIONS)).facts()
    except WireError as error:
        raise TrainingError(f"not a whole .tflite file: {error}") from error


class _Model:
    """Checks of a file's content, after those of its FlatBuffer."""

    def __init__(self, reader: Reader) -> None:
        self._model = model = reader.root(IDENTIFIER, "model")
        self._file = File(model, reader.size)
        self._graphs: list[Record] = model.get("subgraphs", [])
        self._calls: list[list[int]] = []

    def facts(self) -> TfliteFacts:
        version = self._model.get("version", 0)
        if version != VERSION:
            raise WireError(f"of schema version {version}; {VERSION} is read")
        if not 0 < len(self._graphs) <= MAX_SUBGRAPHS or not self._file.buffers:
            raise WireError(
                f"{len(self._graphs)} subgraphs and {len(self._file.buffers)} buffers; 1 to "
                f"{MAX_SUBGRAPHS} subgraphs and at least one buffer belong there"
            )
        self._check_buffers()
        self._calls = [
            [*Subgraph(f"subgraph {n}", graph, self._file).check()]
            for n, graph in enumerate(self._graphs)
        ]
        _check_calls(self._calls)
        custom = {
            text(c["custom_code"], "custom_code") for c in self._file.codes if "custom_code" in c
        }
        size = sum(size_of(tensor) for graph in self._graphs for tensor in graph.get("tensors", []))
        return TfliteFacts(self._signatures(), tuple(sorted(custom)), size, self._main())

    def _check_buffers(self) -> None:
        for n, buffer in enumerate(self._file.buffers):
            begin, length = buffer.get("offset", 0), buffer.get("size", 0)
            if begin + length > self._file.size:
                end = begin + length
                raise WireError(
                    f"buffer {n}: bytes {begin} to {end} of a file of {self._file.size}"
                )
        for n, entry in enumerate(self._model.get("metadata", [])):
            within(f"metadata {n}", entry.get("buffer", 0), self._file.buffers, "buffers")
            text(entry.get("name"), f"metadata {n}")
        for number in self._model.get("metadata_buffer", []):
            within("metadata_buffer", int(number), self._file.buffers, "buffers")

    def _main(self) -> SignatureFacts:
        graph = self._graphs[0]
        self._file.spend("subgraph 0", len(graph.get("inputs", ())) + len(graph.get("outputs", ())))
        inputs, outputs = (
            {name: self._tensor(graph, index) for name, index in _tensor_names(graph, side)}
            for side in ("inputs", "outputs")
        )
        return SignatureFacts(inputs, outputs, self._is_steady(0))

    def _is_steady(self, number: int) -> bool:
        """Return whether no operator of a checked subgraph, or one that it calls, is unsteady."""
        left, seen = [number], set[int]()
        while left:
            if (at := left.pop()) in seen:
                continue
            seen.add(at)
            left += self._calls[at]
            used = {each.get("opcode_index", 0) for each in self._graphs[at].get("operators", [])}
            if any(builtin_of(self._file.codes[index]) in UNSTEADY for index in used):
                return False
        return True

    def _tensor(self, graph: Record, index: int) -> TensorFacts:
        tensor = graph["tensors"][index]
        shape = tuple(map(int, tensor.get("shape", ())))
        quantization = tensor.get("quantization", {})
        scales, zeros = (quantization.get(key, ()) for key in ("scale", "zero_point"))
        single = len(scales) == 1
        return TensorFacts(
            shape,
            DTYPES.get(tensor.get("type", 0), "no array"),
            tuple(map(int, tensor.get("shape_signature", ()))),
            float(scales[0]) if single else 0.0,
            int(zeros[0]) if single and len(zeros) else 0,
            operator_behind(graph, index, self._file.codes),
        )

    def _signatures(self) -> dict[str, SignatureFacts]:
        found: dict[str, SignatureFacts] = {}
        for n, signature in enumerate(self._model.get("signature_defs", [])):
            where = f"signature {n}"
            key = text(signature.get("signature_key"), where)
            if key in found:
                raise WireError(f"two signatures {key!r}")
            number = signature.get("subgraph_index", 0)
            within(where, number, self._graphs, "subgraphs")
            where, graph = f"signature {key!r}", self._graphs[number]
            inputs, outputs = (
                dict(self._named(f"{where}, {side}", signature.get(side, []), graph, side))
                for side in ("inputs", "outputs")
            )
            found[key] = SignatureFacts(inputs, outputs, self._is_steady(number))
        return found

    def _named(
        self, where: str, maps: Sequence[Record], graph: Record, side: str
    ) -> Iterator[tuple[str, TensorFacts]]:
        numbers = graph.get(side, ())
        self._file.spend(where, len(numbers))
        there, seen = {int(number) for number in numbers}, set()
        for n, each in enumerate(maps):
            name, index = text(each.get("name"), f"{where}[{n}]"), each.get("tensor_index", 0)
            if name in seen:
                raise WireError(f"{where}: {name!r} stands there twice")
            seen.add(name)
            if index not in there:
                raise WireError(f"{where}: {name!r} is tensor {index}, which is none of them")
            yield name, self._tensor(graph, index)


def _tensor_names(graph: Record, side: str) -> Iterator[tuple[str, int]]:
    """Yield the tensors of a subgraph's inputs or outputs, by distinct printable names."""
    seen: set[str] = set()
    for n, number in enumerate(graph.get(side, ())):
        try:
            name = text(graph["tensors"][int(number)].get("name"), side)
        except WireError:
            name = ""
        if name in seen or not re.fullmatch(_NAME, name):
            name = f"{side[:-1]}_{n}"
        seen.add(name)
        yield name, int(number)


def _check_calls(calls: Sequence[Sequence[int]]) -> None:
    """Reject calls of missing subgraphs, and calls that are too deep or circular."""
    heights: dict[int, int] = {}

    def height(number: int, above: int) -> int:
        if number not in heights:
            if above < MAX_CALLS:
                within("a call", number, calls, "subgraphs")
                below = [height(callee, above + 1) for callee in calls[number]]
                heights[number] = 1 + max(below, default=0)
            if heights.get(number, MAX_CALLS + 1) > MAX_CALLS:
                raise WireError(f"subgraphs call each other more than {MAX_CALLS} deep")
        return heights[number]

    for number in range(len(calls)):
        height(number, 0)
