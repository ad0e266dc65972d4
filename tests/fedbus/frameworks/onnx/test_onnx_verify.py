"""Damaged and unusable `.onnx` files are refused by Python, before native code opens them."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import TrainingError, WireError
from fedbus.frameworks.onnx import protobuf_reader
from fedbus.frameworks.onnx.protobuf_reader import ProtobufReader
from fedbus.frameworks.onnx.verify import verify
from tests.fedbus.frameworks.model_files_data import model_file


def varint(value: int) -> bytes:
    """Write a number as protobuf does."""
    found = b""
    while value >= 0x80:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def number(field: int, value: int) -> bytes:
    """Write a field with a number."""
    return varint(field << 3) + varint(value)


def data(field: int, *parts: bytes) -> bytes:
    """Write a field with bytes: a text, or a message of fields."""
    content = b"".join(parts)
    return varint(field << 3 | 2) + varint(len(content)) + content


def value(field: int, name: str, *lengths: int, dtype: int = 1) -> bytes:
    """Write an input (field 11) or output (12) of a graph; -1 is an open length."""
    dims = [data(1, data(2, b"n") if n < 0 else number(1, n)) for n in lengths]
    tensor = data(1, number(1, dtype), data(2, *dims))
    return data(field, data(1, name.encode()), data(2, tensor))


def node(operator: str, inputs: Iterable[str], output: str, *more: bytes) -> bytes:
    """Write a node of a graph."""
    names = [data(1, name.encode()) for name in inputs]
    return data(1, *names, data(2, output.encode()), data(4, operator.encode()), *more)


X, Y = value(11, "x", -1, 2), value(12, "y", -1, 2)
GRAPH = (node("Relu", ["x"], "y"), X, Y)


def model(*graph: bytes, more: bytes = b"") -> bytes:
    """Write a model of a graph."""
    return number(1, 8) + data(8, number(2, 17)) + data(7, *graph) + more


def tensor(*fields: bytes, shape: tuple[int, ...] = (2,), dtype: int = 1, field: int = 5) -> bytes:
    """Write a constant."""
    dims = data(1, *map(varint, shape))
    return data(field, dims, number(2, dtype), data(8, b"w"), *fields)


def test_a_small_model_is_read() -> None:
    """Inputs, outputs, the last operation, and sizes."""
    raw = data(9, bytes(8))
    found = verify(model(*GRAPH, tensor(raw)))
    assert found.inputs["x"].shape == (-1, 2)
    assert found.outputs["y"].dtype == "float32"
    assert (found.rows, found.bytes, found.output_activation) == (-1, 8, "scores")


def test_constants_are_no_inputs() -> None:
    """Older files list them among both."""
    found = verify(model(*GRAPH, value(11, "w", 2), tensor(data(9, bytes(8)))))
    assert list(found.inputs) == ["x"]


@pytest.mark.parametrize(
    ("last", "activation"),
    [("Softmax", "softmax"), ("Sigmoid", "sigmoid"), ("LogSoftmax", "scores")],
)
def test_the_last_operation_is_found_behind_a_change_of_shape(last: str, activation: str) -> None:
    """As quantization and exports leave it."""
    nodes = node(last, ["x"], "a"), node("Reshape", ["a", "s"], "b"), node("Cast", ["b"], "y")
    assert verify(model(*nodes, X, Y)).output_activation == activation
    assert verify(model(node("Reshape", [], "y"), X, Y)).output_activation == "scores"
    assert verify(model(node("Relu", ["x"], "z"), X, Y)).output_activation == "scores"


def test_functions_of_the_file_itself_are_no_custom_operators() -> None:
    """Exporters define some; what these contain is checked as well."""
    inner = data(25, data(1, b"Twice"), data(10, b"mine"), data(7, data(4, b"Relu")))
    graph = (node("Twice", ["x"], "y", data(7, b"mine")), X, Y)
    assert verify(model(*graph, more=inner)).rows == -1
    foreign = data(25, data(1, b"T"), data(10, b"mine"), data(7, data(4, b"A"), data(7, b"bad")))
    with pytest.raises(TrainingError, match="operator 'A' of 'bad'"):
        verify(model(*graph, more=foreign))


IN_ATTRIBUTE = data(5, data(6, node("Bad", [], "z", data(7, b"acme"))))
EXTERNAL = tensor(data(13, data(1, b"location"), data(2, b"/etc/passwd")))


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (b"", "expected one graph, a version and operator sets"),
        (model(*GRAPH, more=data(7)), "expected one graph"),
        (model(*GRAPH, more=data(20, b"a")), "it has training information"),
        (model(*GRAPH, EXTERNAL), "graph, tensor 'w': its data are in another file"),
        (model(*GRAPH, tensor(number(14, 1))), "its data are in another file"),
        (
            model(node("Relu", ["x"], "y", data(5, tensor(number(14, 1), field=5))), X, Y),
            "its data are in another file",
        ),
        (
            model(*GRAPH, data(15, tensor(number(14, 1), field=1))),
            "its data are in another file",
        ),
        (model(node("FFT", ["x"], "y", data(7, b"acme")), X, Y), "operator 'FFT' of 'acme'; only"),
        (
            model(node("If", ["x"], "y", IN_ATTRIBUTE), X, Y),
            "graph, node If: operator 'Bad' of 'acme'",
        ),
        (model(*GRAPH, tensor(data(9, bytes(7)))), "7 bytes where its shape [2] needs 8"),
        (model(*GRAPH, tensor(shape=(2**31,))), "lengths below 2^31"),
        (model(*GRAPH, tensor(shape=(1,) * 9)), "at most 8 lengths below 2^31"),
        (model(*GRAPH, tensor(shape=(2**20, 2**20))), "at most 2147483647 bytes, got"),
        (model(X, Y, value(11, "z", 3, 2)), "its inputs differ in their first dimension"),
        (model(Y), "the graph has no input"),
        (model(X), "the graph has no output"),
        (model(X, X, Y), "input 'x': expected another printable name for each"),
        (model(value(11, "a b", 1), Y), "input 'a b': expected another printable name"),
        (model(value(11, "x", 1, dtype=8), Y), "input 'x': expected an array of bool, float16"),
        (model(X, data(12, data(1, b"y"), data(2, data(4)))), "with zipmap=False"),
        (model(value(11, "x"), Y), "input 'x': expected 1 to 8 dimensions"),
        (model(value(11, "x", *[1] * 9), Y), "input 'x': expected 1 to 8 dimensions"),
        (model(data(11, data(1, b"x"), data(2, data(1, number(1, 1)))), Y), "1 to 8 dimensions"),
        (model(value(11, "x", 2**31), Y), "input 'x': a length of 2147483648"),
        (number(1, 8) + b"\x3a", "model: byte 3: a number that does not end"),
        (b"\x3a\x09" + bytes(3), "model: byte 2: a value that ends 6 bytes too late"),
        (b"\x0d\x01", "model: byte 1: a value that ends 3 bytes too late"),
        (b"\x09\x01", "model: byte 1: a value that ends 7 bytes too late"),
        (b"\x0b", "model: byte 1: a value of the unknown wire type 3"),
        (data(1, b"a"), "model.ir_version: a value of wire type 2"),
        (number(7, 1), "model.graph: a value of wire type 0"),
        (data(8, data(1, b"\xff")), "opset.domain: not UTF-8"),
        (b"\xff" * 12, "model: byte 0: a number that does not end"),
    ],
)
def test_an_unusable_file_is_refused_by_its_place(file: bytes, sentence: str) -> None:
    """The author finds what to change."""
    with pytest.raises(TrainingError) as caught:
        verify(file)
    assert str(caught.value).startswith("not an .onnx file that can be used: ")
    assert sentence in str(caught.value)


def test_fields_and_depths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file cannot make the reader work for long, nor end its stack."""
    deep = b""
    for _ in range(40):
        deep = data(1, data(5, data(6, deep)))
    with pytest.raises(TrainingError, match="nested more than 64 deep"):
        verify(model(deep))
    monkeypatch.setattr(protobuf_reader, "MAX_FIELDS", 20)
    with pytest.raises(TrainingError, match="more than 20 fields"):
        verify(number(2, 1) * 30)
    with pytest.raises(TrainingError, match="more than 20 fields"):
        verify(model(tensor(shape=(1,) * 30)))


def test_unknown_fields_are_passed_over() -> None:
    """Newer exporters write some."""
    unknown = b"\xf5\x06" + bytes(4) + b"\xf1\x06" + bytes(8) + number(99, 1) + data(98, b"a")
    assert verify(unknown + model(*GRAPH)).rows == -1
    shape = b"".join(number(1, n) for n in (2,))  # not packed
    loose = data(5, shape, number(2, 1), data(9, bytes(8)))
    assert verify(model(*GRAPH, loose)).bytes == 8


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_is_a_model_or_a_sentence(content: bytes) -> None:
    """Nothing else is raised."""
    try:
        verify(content)
    except TrainingError as error:
        assert len(str(error)) < 400  # noqa: PT017 - for each draw


@pytest.mark.parametrize("name", ["plain", "int8", "two"])
def test_half_a_file_or_flipped_bytes_are_a_sentence_or_a_model(name: str) -> None:
    """Whatever was damaged on the way."""
    file = model_file(f"{name}.onnx")
    refused = 0
    for length in range(0, len(file), max(1, len(file) // 50)):
        with pytest.raises(TrainingError):
            verify(file[:length])
    rng = np.random.default_rng(5)
    for _ in range(300):
        flipped = bytearray(file)
        for at in rng.integers(0, len(file), 3):
            flipped[at] ^= int(rng.integers(1, 256))
        try:
            verify(flipped)
        except TrainingError:
            refused += 1
    assert refused


def test_a_reader_reads_any_table() -> None:
    """It knows nothing of ONNX."""
    tables = {"a": {1: ("n", "ints"), 2: ("b", "a"), 3: ("s", "size"), 4: ("t", "text")}}
    content = (
        number(1, 300) + data(1, b"\x01\x02") + data(2, data(4, "é".encode())) + data(3, b"abc")
    )
    found = ProtobufReader(content, tables).read("a")
    assert found == {"n": [300, 1, 2], "s": [3], "b": [{"t": ["é"]}]}
    with pytest.raises(WireError, match=r"a\.s: a value of wire type 0"):
        ProtobufReader(number(3, 1), tables).read("a")
