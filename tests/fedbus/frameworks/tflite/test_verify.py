"""A `.tflite` file from outside: verified before native code reads it."""

import copy
import json
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus import demo_data
from fedbus.errors import TrainingError
from fedbus.frameworks.tflite import graph as tflite_graph
from fedbus.frameworks.tflite import verify as tflite_verify
from fedbus.frameworks.tflite.flatbuffer_schema import IDENTIFIER, SCHEMA, STRING, UNIONS
from fedbus.frameworks.tflite.signatures import check_trainable
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.layout import Layout
from tests.fedbus.frameworks.tflite.flatbuffer_writer import Writer

DIGITS = demo_data.read("digits.tflite")
LAYOUT = Layout.of(
    {
        t["name"]: np.zeros(t["shape"], t["dtype"])
        for t in json.loads(demo_data.read("model.json"))["layout"]
    }
)
ADD, WHILE, ADD_OPTIONS, WHILE_OPTIONS = 0, 119, 11, 93
Change = Callable[[dict[str, Any]], object]


def _small() -> dict[str, Any]:
    """Add a constant to an input; a second subgraph adds the other way round."""
    tensors = [
        {"shape": [1, 2], "shape_signature": [-1, 2], "name": "x"},
        {"shape": [2], "buffer": 1, "name": "constant"},
        {"shape": [1, 2], "name": "sum"},
    ]
    operator = {
        "inputs": [0, 1],
        "outputs": [2],
        "builtin_options_type": ADD_OPTIONS,
        "builtin_options": {},
    }
    graph = {
        "tensors": tensors,
        "inputs": [0],
        "outputs": [2],
        "operators": [operator],
        "name": "main",
    }
    maps = {
        "inputs": [{"name": "x", "tensor_index": 0}],
        "outputs": [{"name": "y", "tensor_index": 2}],
    }
    return {
        "version": 3,
        "operator_codes": [
            {"builtin_code": ADD},
            {"builtin_code": WHILE},
            {"builtin_code": 32, "custom_code": "Own"},
        ],
        "subgraphs": [graph, copy.deepcopy(graph)],
        "buffers": [{}, {"data": np.ones(2, "<f4").tobytes()}],
        "metadata": [{"name": "min_runtime_version", "buffer": 0}],
        "metadata_buffer": [0],
        "signature_defs": [{"signature_key": "add", **maps}],
    }


def _file(change: Change = lambda _: None) -> bytes:
    model = _small()
    change(model)
    return Writer(SCHEMA, UNIONS).root(IDENTIFIER, "model", model)


def test_a_whole_file_says_what_it_is() -> None:
    """Signatures, custom operators, and how much it will hold."""
    facts = verify(DIGITS)
    assert {"train", "infer", "get_weights", "set_weights"} <= facts.signatures.keys()
    assert facts.signatures["infer"].inputs["x"].shape == (1, 64)
    assert facts.signatures["infer"].inputs["x"].dtype == "float32"
    assert not facts.custom
    assert 0 < facts.bytes < 10 * len(DIGITS)
    check_trainable(facts)
    check_trainable(facts, LAYOUT)
    small = verify(_file())
    assert small.custom == ("Own",)
    assert small.bytes == 2 * 3 * 2 * 4


@pytest.mark.parametrize("share", range(1, 100, 3))
def test_a_file_that_was_cut_is_refused(share: int) -> None:
    """Half a download: native code reads behind its end, and the process dies."""
    with pytest.raises(TrainingError, match=r"not a whole \.tflite file: "):
        verify(DIGITS[: len(DIGITS) * share // 100])


@pytest.mark.parametrize("data", [b"", b"\0", bytes(5000), b"<!DOCTYPE html><html>404" * 20])
def test_what_is_no_tflite_file_is_refused(data: bytes) -> None:
    """Nothing, zeros, a page of a proxy."""
    with pytest.raises(TrainingError, match=r"not a whole \.tflite file: "):
        verify(data)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_changed_bytes_are_read_or_refused(seed: int, count: int) -> None:
    """By whichever bits: no other exception, and little memory."""
    rng = np.random.default_rng(seed)
    data = bytearray(DIGITS)
    for at in rng.integers(0, len(data), count):
        data[at] ^= 1 << int(rng.integers(8))
    try:
        verify(data)
    except TrainingError as error:
        assert str(error)  # noqa: PT017 - either way is right


def test_verifying_takes_little_memory() -> None:
    """Weights are looked at where they are; what is allocated is for tables."""
    large = _file(lambda m: _weighty(m, 2**21))
    tracemalloc.start()
    try:
        verify(large)
        assert tracemalloc.get_traced_memory()[1] < len(large) / 4
    finally:
        tracemalloc.stop()


def _weighty(model: dict[str, Any], numbers: int) -> None:
    model["buffers"][1]["data"] = bytes(4 * numbers)
    for graph in model["subgraphs"]:
        for tensor in graph["tensors"]:
            tensor["shape"] = [1, numbers]
            tensor.pop("shape_signature", None)


def _first(model: dict[str, Any]) -> dict[str, Any]:
    graph: dict[str, Any] = model["subgraphs"][0]
    return graph


def _tensor(number: int, **fields: object) -> Change:
    return lambda m: _first(m)["tensors"][number].update(fields)


def _operator(**fields: object) -> Change:
    return lambda m: _first(m)["operators"][0].update(fields)


def _code(number: int, **fields: object) -> Change:
    return lambda m: m["operator_codes"][number].update(fields)


def _both(one: Change, other: Change) -> Change:
    return lambda m: (one(m), other(m))


def _nameless(model: dict[str, Any]) -> None:
    del model["operator_codes"][2]["custom_code"]


def _emptied(model: dict[str, Any]) -> None:
    model["buffers"][1]["data"] = b""
    model["subgraphs"].pop()


def _signature(**fields: object) -> Change:
    return lambda m: m["signature_defs"][0].update(fields)


def _calls(*callees: int) -> Change:
    options = {f"callee_{n}": callee for n, callee in enumerate(callees)}
    return _operator(opcode_index=1, builtin_options_type=WHILE_OPTIONS, builtin_options=options)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(version=2), "of schema version 2; 3 is read"),
        (lambda m: m.pop("subgraphs"), "0 subgraphs and 2 buffers"),
        (lambda m: m.pop("buffers"), "2 subgraphs and 0 buffers"),
        (lambda m: m["metadata"][0].update(buffer=9), "metadata 0: number 9 of 2 buffers"),
        (lambda m: m["metadata"][0].pop("name"), "metadata 0: it has no name"),
        (lambda m: m.update(metadata_buffer=[-1]), "metadata_buffer: number -1 of 2 buffers"),
        (lambda m: m["buffers"][1].update(offset=9, size=2**40), "buffer 1: bytes 9 to"),
        (_tensor(1, buffer=7), "subgraph 0, tensor 1: number 7 of 2 buffers"),
        (_tensor(1, shape=[3]), r"tensor 1: a buffer of 8 bytes for \(3,\), 12 bytes"),
        (_tensor(1, type=13), "tensor 1: a buffer of 8 bytes"),
        (_tensor(1, type=99), "tensor 1: of type 99"),
        (_tensor(1, sparsity={}), "tensor 1: it is sparse"),
        (_tensor(0, shape=[-1, 2]), "tensor 0: shape .*; no length is below 0"),
        (_tensor(0, shape=[1] * 9), "tensor 0: 9 dimensions; at most 8"),
        (_tensor(2, shape=[2**20, 2**20]), "tensor 2: .* bytes; at most"),
        (_tensor(0, shape_signature=[-1, 3]), r"shape \(1, 2\), and \(-1, 3\) as its open shape"),
        (_tensor(0, shape_signature=[-1]), "as its open shape"),
        (_tensor(0, quantization={"scale": [1, 2, 3], "quantized_dimension": 1}), "3 scales"),
        (_tensor(0, quantization={"scale": [1, 2], "quantized_dimension": 2}), "dimension 2 of 2"),
        (_tensor(0, quantization={"scale": [1], "zero_point": [1, 2]}), "1 scales and 2 zero"),
        (_tensor(1, type=STRING), "tensor 1: 8 bytes that do not hold"),
        (_operator(opcode_index=3), "operator 0: number 3 of 3 operator codes"),
        (_operator(inputs=[0, 3]), "operator 0: tensor 3 of 3"),
        (_operator(inputs=[0, -2]), "operator 0: tensor -2 of 3"),
        (_operator(inputs=[0, 2]), "operator 0: its input, tensor 2, is never computed"),
        (_operator(outputs=[-1]), "operator 0: tensor -1 of 3"),
        (_operator(outputs=[1]), "operator 0: its output, tensor 1, is a constant"),
        (_operator(intermediates=[5]), "operator 0: tensor 5 of 3"),
        (_operator(mutating_variable_inputs=[0]), "operator 0: 1 flags for its inputs"),
        (_operator(large_custom_options_offset=2**40), "operator 0: its options lie beyond"),
        (_operator(opcode_index=1), "operator 0: it has no WhileOptions"),
        (_code(0, builtin_code=-5, deprecated_builtin_code=-1), "the builtin operator -1"),
        (_both(_nameless, _operator(opcode_index=2)), "custom operator without a name"),
        (lambda m: _first(m).update(inputs=[4]), "subgraph 0, its inputs: tensor 4 of 3"),
        (lambda m: _first(m).update(operators=[]), "subgraph 0: its output, tensor 2, is never"),
        (_calls(1, 2), "a call: number 2 of 2 subgraphs"),
        (_calls(1, 0), "call each other more than 32 deep"),
        (_calls(1), "call each other more than 32 deep"),
        (_signature(subgraph_index=2), "signature 0: number 2 of 2 subgraphs"),
        (_signature(signature_key=""), "signature 0: it has no name"),
        (_signature(signature_key=b"\xff"), "signature 0: a name that is not UTF-8"),
        (_signature(signature_key="x" * 1025), "a name of 1025 bytes, at most 1024"),
        (_signature(inputs=[{"name": "x", "tensor_index": 1}]), "'x' is tensor 1, which is none"),
        (_signature(inputs=[{"name": "x", "tensor_index": 0}] * 2), "'x' stands there twice"),
        (_signature(outputs=[{"tensor_index": 2}]), r"outputs\[0\]: it has no name"),
        (lambda m: m["signature_defs"].append(m["signature_defs"][0]), "two signatures 'add'"),
    ],
)
def test_content_that_native_code_would_misread_is_refused(change: Change, sentence: str) -> None:
    """Each with the place in the file."""
    with pytest.raises(TrainingError, match=sentence):
        verify(_file(change))


@pytest.mark.parametrize(
    "change",
    [
        _calls(1, 1),
        _operator(inputs=[0, -1]),
        _operator(opcode_index=2, builtin_options_type=0),
        _operator(builtin_options_2_type=23, builtin_options_2={"callee_0": [1, 1]}),
        _tensor(0, quantization={"scale": [0.5, 1], "quantized_dimension": 1}),
        _both(_emptied, _tensor(1, is_variable=True)),
        _both(_emptied, _tensor(1, shape=[0])),
        lambda m: m["buffers"].__setitem__(1, {"offset": 16, "size": 8}),
        lambda m: m["metadata"].clear(),
    ],
)
def test_what_is_unusual_and_right_is_read(change: Change) -> None:
    """A loop, an input that is left out, a variable, a constant outside the tables."""

    def mended(model: dict[str, Any]) -> None:
        change(model)
        operator = _first(model)["operators"][0]
        if operator["builtin_options_type"] == 0:
            del operator["builtin_options"]

    verify(_file(mended))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([1, 12, 15], ""),
        ([0, 8], ""),
        ([1, 12, 99], "16 bytes that do not hold 1 strings"),
        ([2, 16, 15, 16], "a string that ends before it begins"),
        ([1, 0, 12], "do not hold 1 strings"),
        ([-1], "do not hold -1 strings"),
        ([9], "do not hold 9 strings"),
    ],
)
def test_constant_strings_lie_in_their_buffer(words: list[int], sentence: str) -> None:
    """They have offsets of their own, which TFLite follows as well."""

    def change(model: dict[str, Any]) -> None:
        model["buffers"][1]["data"] = np.array(words, "<i4").tobytes() + b"abcd"
        for graph in model["subgraphs"]:
            graph["tensors"][1].update(type=STRING)

    if sentence:
        with pytest.raises(TrainingError, match=sentence):
            verify(_file(change))
    else:
        verify(_file(change))


def test_what_is_looked_at_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file may point to one place many times."""
    monkeypatch.setattr(tflite_graph, "MAX_STEPS", 10)
    with pytest.raises(TrainingError, match="subgraph 1: more than 10 inputs, outputs"):
        verify(_file())
    monkeypatch.setattr(tflite_verify, "MAX_SUBGRAPHS", 1)
    with pytest.raises(TrainingError, match="2 subgraphs"):
        verify(_file())


def test_calls_are_bounded() -> None:
    """TFLite calls subgraphs on the native stack."""

    def chain(model: dict[str, Any], length: int) -> None:
        model["subgraphs"] = [copy.deepcopy(model["subgraphs"][1]) for _ in range(length)]
        for n, graph in enumerate(model["subgraphs"][:-1]):
            options = {"callee_0": n + 1, "callee_1": n + 1}
            graph["operators"][0].update(
                opcode_index=1, builtin_options_type=WHILE_OPTIONS, builtin_options=options
            )

    verify(_file(lambda m: chain(m, 32)))
    with pytest.raises(TrainingError, match="call each other more than 32 deep"):
        verify(_file(lambda m: chain(m, 33)))


def test_a_file_for_running_only_is_told_what_it_lacks() -> None:
    """As converters write them: agents cannot train it, and it cannot get new weights."""
    sentence = (
        r"no signature 'get_weights', 'infer', 'set_weights', 'train'; it has add, .* export it"
    )
    with pytest.raises(TrainingError, match=sentence):
        check_trainable(verify(_file()))
    with pytest.raises(TrainingError, match=r"it has none, and agents and inference need"):
        check_trainable(verify(_file(lambda m: m.pop("signature_defs"))))
    lacking = DIGITS.replace(b"learning_rate\0", b"leaning_rate_\0")
    with pytest.raises(TrainingError, match="the signature 'train' has no learning_rate: export"):
        check_trainable(verify(lacking))


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        (Layout(LAYOUT.tensors[:-1]), r"'layers.1.weight' is .* in the file and not there"),
        (Layout.of({"mine": np.zeros(3)}), r"'layers.0.bias' is .* in the file and not there"),
        (
            Layout.of({t.name: np.zeros(t.shape, "f2") for t in LAYOUT.tensors}),
            r"float32 \(32,\) in the file and float16 \(32,\) in the layout",
        ),
    ],
)
def test_weights_that_are_not_the_layouts_are_told_apart(layout: Layout, sentence: str) -> None:
    """A spec beside the wrong file: training would fail in every round."""
    with pytest.raises(TrainingError, match=sentence):
        check_trainable(verify(DIGITS), layout)


def test_weights_that_cannot_be_given_back_are_refused() -> None:
    """What get_weights hands out, set_weights must take."""
    data = bytearray(DIGITS)
    name = b"layers__0__bias\0"
    assert data.count(name) >= 2
    at = data.index(name)
    data[at : at + len(name)] = b"layers__9__bias\0"
    with pytest.raises(TrainingError, match="get_weights and set_weights differ in"):
        check_trainable(verify(data))


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="no TensorFlow")
def test_the_schema_is_tensorflows() -> None:
    """Its own generated code names no field that is not here."""
    import ast
    from pathlib import Path

    spec = find_spec("tensorflow")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    tree = ast.parse((folder / "lite/python/schema_py_generated.py").read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for union, enum in (("options", "BuiltinOptions"), ("options_2", "BuiltinOptions2")):
        told = {
            value.value.value: target.id
            for value in classes[enum].body
            if isinstance(value, ast.Assign) and isinstance(value.value, ast.Constant)
            for target in value.targets
            if isinstance(target, ast.Name) and value.value.value
        }
        assert UNIONS[union] == told
        for name in told.values():
            fields = {
                argument.value
                for function in classes[name].body
                for argument in ast.walk(function)
                if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
                if isinstance(function, ast.FunctionDef)
                if f"Offset({argument.value})" in ast.unparse(function)
            }
            # Fields that are deprecated keep their number, and have no code any more.
            assert fields <= {4 + 2 * n for n in range(len(SCHEMA[name]))}
