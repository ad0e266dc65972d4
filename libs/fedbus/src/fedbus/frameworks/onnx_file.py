"""ONNX files: a graph that is built node by node, names of inputs and outputs, and a check of it.

A file has one input, `inputs`, whose first dimension, the rows, is open. A single output is called
`outputs`; several have the names that inference answers with.
The format is that of https://onnx.ai/onnx/intro/concepts.html; operators are those of opset 20.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fedbus.errors import TrainingError
from fedbus.model.layout import Array

INPUT: Final = "inputs"
OUTPUT: Final = "outputs"
ROWS: Final = "rows"
"""Name of the open dimension."""
OPSET: Final = 20
IR_VERSION: Final = 10
"""Version of the file format that belongs to the opset; older runtimes refuse newer ones."""
CHECKED_ROWS: Final = 3
"""Rows with which an exported file is compared with its framework; not the number of the export."""
TOLERANCE: Final = 1e-4
"""Largest difference of an output from the framework's own, relative to the largest output."""

Shape = Sequence[int | str | None]


class OnnxGraph:
    """A graph to which nodes are added one after the other."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, array: Array) -> str:
        """Add a constant tensor, and return its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - of any type
        """Add a node with one output, and return the output's name."""
        return self.add_many(operator, inputs, 1, attributes)[0]

    def add_many(
        self, operator: str, inputs: Sequence[str], outputs: int, attributes: Mapping[str, Any]
    ) -> list[str]:
        """Add a node with several outputs, and return their names."""
        names = [f"{operator.lower()}_{len(self._nodes)}_{n}" for n in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def file(self, given: tuple[Array, Shape], last: str, result: tuple[Array, Shape]) -> bytes:
        """Return the file: an input and the last node's output, each as an example and its shape.

        Raises:
            TrainingError: The graph is not valid.
        """
        self._nodes.append(helper.make_node("Identity", [last], [OUTPUT]))
        graph = helper.make_graph(
            self._nodes, "model", [_value(INPUT, *given)], [_value(OUTPUT, *result)],
            self._constants,
        )  # fmt: skip
        versions = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=versions, producer_name="fedbus")
        return finished(model)


def _value(name: str, example: Array, shape: Shape) -> Any:  # noqa: ANN401 - onnx has few types
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(example.dtype), [ROWS, *shape]
    )


def finished(model: Any) -> bytes:  # noqa: ANN401 - onnx has few types
    """Serialize a model without notes about this machine: exporters write stacks with file names.

    Raises:
        TrainingError: The model is not valid.
    """
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.producer_name = "fedbus"
    model.ClearField("doc_string")
    model.ClearField("producer_version")
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise TrainingError(f"the ONNX graph is not valid: {error}") from error
    return bytes(model.SerializeToString())


def with_metadata(file: bytes, about: Mapping[str, str]) -> bytes:
    """Return a file with text under names (`metadata_props`)."""
    model = onnx.load_model_from_string(file)
    helper.set_model_props(model, dict(about))
    return bytes(model.SerializeToString())


def read_metadata(file: bytes) -> dict[str, str]:
    """Read the text that `with_metadata` wrote."""
    return {each.key: each.value for each in onnx.load_model_from_string(file).metadata_props}


def check_outputs(file: bytes, rows: Array, wanted: Array, name: str = OUTPUT) -> None:
    """Compare a file's output for some rows with that of the framework that it comes from.

    Raises:
        TrainingError: They differ: the exporter has written another model than the framework runs.
    """
    found = run(file, rows, name)
    if found.shape != wanted.shape:
        raise TrainingError(
            f"the ONNX file answers {found.shape} for {len(rows)} rows, the model {wanted.shape}"
        )
    off = float(np.abs(found - wanted).max(initial=0.0))
    bound = TOLERANCE * max(1.0, float(np.abs(wanted).max(initial=0.0)))
    if not off <= bound:
        raise TrainingError(
            f"the ONNX file's outputs differ from the model's by up to {off:.3g}; at most "
            f"{bound:.3g} is rounding, so the file is not written"
        )


def run(file: bytes, rows: Array, name: str = OUTPUT) -> Array:
    """Compute an output of a file with onnxruntime or, without it, with onnx's reference code."""
    if find_spec("onnxruntime") is not None:
        runtime = import_module("onnxruntime")
        session: Any = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    else:
        session = import_module("onnx.reference").ReferenceEvaluator(file)
    return np.asarray(session.run([name], {INPUT: rows})[0])


def example_rows(shape: Sequence[int], dtype: Any, words: int = 0) -> Array:  # noqa: ANN401 - a dtype
    """Draw rows to export and to check a model with, the same each time.

    Args:
        shape: Of one row.
        dtype: Of the input.
        words: The number of words of an embedding, where inputs are word numbers; else 0.
    """
    rng = np.random.default_rng(0)
    size = (CHECKED_ROWS, *shape)
    drawn = rng.integers(0, words, size) if words else rng.normal(size=size)
    return np.asarray(drawn, dtype)
