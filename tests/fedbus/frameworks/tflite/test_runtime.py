"""Plain `.tflite` files answer what TFLite itself does, and damaged ones are refused."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from fedbus.data.digits import digits
from fedbus.errors import LayoutError, TrainingError
from fedbus.frameworks.tflite import runtime
from fedbus.frameworks.tflite.admission import Admission
from fedbus.frameworks.tflite.file import new_interpreter
from fedbus.frameworks.tflite.run_facts import check_runnable, run_facts
from fedbus.frameworks.tflite.runtime import TfliteRuntime, open_runtime
from fedbus.frameworks.tflite.signatures import SignatureFacts, TensorFacts, TfliteFacts
from fedbus.frameworks.tflite.trainer import TfliteTrainer
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.layout import Array, Layout
from tests.fedbus.frameworks.model_files_data import model_file

RUNTIMES = ("tflite_runtime", "ai_edge_litert")
pytestmark = pytest.mark.skipif(not any(map(find_spec, RUNTIMES)), reason="no TFLite runtime")
ROWS, LABELS = digits()
ROWS_ONLY = Layout((), may_be_empty=True)


def called_directly(file: bytes, rows: Array) -> Array:
    """Run the first subgraph by TFLite's own interface, row by row; return real numbers."""
    interpreter = new_interpreter(file)
    (taken,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    at_once = 3 if taken["shape"][0] == 3 else 1
    interpreter.allocate_tensors()
    found: list[Array] = []
    for first in range(0, len(rows), at_once):
        part = np.zeros((at_once, 64), np.float32)
        part[: len(rows[first : first + at_once])] = rows[first : first + at_once]
        interpreter.set_tensor(taken["index"], _quantized(part, taken))
        interpreter.invoke()
        found.extend(interpreter.get_tensor(made["index"]))
    scale, zero = made["quantization"]
    stored = np.array(found[: len(rows)])
    return (stored.astype(np.float32) - zero) * np.float32(scale) if scale else stored


def _quantized(rows: Array, taken: dict[str, Any]) -> Array:
    scale, zero = taken["quantization"]
    stored: Array = rows
    if scale:
        bounds = np.iinfo(taken["dtype"])
        stored = np.clip(np.rint(rows / np.float32(scale)) + zero, bounds.min, bounds.max)
    return stored.astype(taken["dtype"])


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("name", ["plain", "uint8", "int8", "three_rows"])
def test_a_file_answers_what_tflite_itself_does(name: str, count: int) -> None:
    """Float, quantized, with any number of rows and with a fixed one; twice, by kept tensors."""
    file = model_file(f"{name}.tflite")
    opened = open_runtime({"blob": file})
    wanted = called_directly(file, ROWS[:count])
    for _ in range(2):
        found = opened.predict(ROWS[:count])
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=1 / 250 if "int8" in name else 1e-6)
    assert getattr(opened, "output_activation", None) == "softmax"


def test_a_quantized_file_is_right_about_digits() -> None:
    """Nine of ten, as its float original; many rows at once."""
    for name in ("plain", "int8"):
        found = open_runtime({"blob": model_file(f"{name}.tflite")}).predict(ROWS)
        assert (np.asarray(found).argmax(axis=1) == LABELS).mean() > 0.9


def test_numbers_in_a_quantized_inputs_own_dtype_are_not_quantized_again() -> None:
    """A camera may give them so; the scale of the digits' pixels is 1/255."""
    opened = open_runtime({"blob": model_file("uint8.tflite")})
    stored = np.rint(ROWS[:7] * 255).astype(np.uint8)
    np.testing.assert_allclose(
        np.asarray(opened.predict(stored)), np.asarray(opened.predict(ROWS[:7])), atol=0.03
    )


def test_numbers_beyond_the_quantized_range_end_at_its_edge() -> None:
    """They do not wrap around."""
    opened = open_runtime({"blob": model_file("int8.tflite")})
    far = np.asarray(opened.predict(ROWS[:1] * 1000))
    assert np.isfinite(far).all()


@pytest.mark.parametrize("count", [1, 7])
def test_several_inputs_and_outputs_have_names(count: int) -> None:
    """Those of the signature."""
    opened = TfliteRuntime(model_file("two.tflite"))
    image = np.arange(4 * count, dtype=np.float64).reshape(count, 4)
    extra = np.ones((count, 2), np.int64)
    found = opened.predict_named({"extra": extra, "image": image})
    assert isinstance(found, dict)
    np.testing.assert_allclose(found["twice"], image * 2)
    np.testing.assert_allclose(found["total"], image.sum(axis=1) + 2)
    assert opened.output_activation is None
    with pytest.raises(TrainingError, match="has the inputs extra, image: name each"):
        opened.predict(image)
    with pytest.raises(TrainingError, match="takes extra, image, and got image"):
        opened.predict_named({"image": image})


def test_rows_go_in_parts_within_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large batch does not take memory without bound."""
    facts = verify(model_file("plain.tflite"))
    monkeypatch.setattr(runtime, "PREDICTED_BYTES", 3 * facts.bytes)
    file = model_file("plain.tflite")
    np.testing.assert_allclose(
        np.asarray(open_runtime({"blob": file}).predict(ROWS[:7])),
        called_directly(file, ROWS[:7]),
        atol=1e-6,
    )


def test_tensors_stay_allocated_for_a_few_numbers_of_rows() -> None:
    """The least recently used ones are given away."""
    opened = TfliteRuntime(model_file("plain.tflite"))
    for count in (1, 2, 3, 4, 5, 2, 6):
        opened.predict(ROWS[:count])
    assert list(opened._calls) == [4, 5, 2, 6]  # noqa: SLF001 - its bound


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (np.zeros((1, 63), np.float32), "is float32 (1, 63); the model takes ('rows', 64)"),
        (np.zeros((64,), np.float32), "is float32 (64,)"),
        (np.zeros((0, 64), np.float32), "is float32 (0, 64)"),
        (np.full((1, 64), "a"), "is <U1 (1, 64)"),
    ],
)
def test_rows_of_another_shape_are_refused(rows: Array, sentence: str) -> None:
    """TFLite would resize its tensors to anything."""
    with pytest.raises(TrainingError) as caught:
        open_runtime({"blob": model_file("plain.tflite")}).predict(rows)
    assert sentence in str(caught.value)


def test_a_version_has_no_weights_beside_the_file() -> None:
    """They are inside."""
    opened = open_runtime({"blob": model_file("plain.tflite")})
    opened.load({})
    with pytest.raises(LayoutError, match="has its weights inside, and cannot take w"):
        opened.load({"w": np.zeros(1, np.float32)})


def test_a_trainable_file_is_opened_to_take_weights() -> None:
    """One name for both kinds, and what is no file is refused as by a trainer."""
    from fedbus import demo_data

    assert isinstance(open_runtime({"blob": demo_data.read("digits.tflite")}), TfliteTrainer)
    with pytest.raises(TrainingError, match="a tflite architecture has a blob, bytes"):
        open_runtime({})


@pytest.mark.parametrize("name", ["plain", "uint8", "int8", "three_rows", "two"])
def test_a_file_that_only_runs_is_admitted_for_an_empty_layout_alone(name: str) -> None:
    """Agents need one that trains."""
    file = model_file(f"{name}.tflite")
    Admission(tried={}).admit(file, ROWS_ONLY)
    with pytest.raises(TrainingError, match="has no signature"):
        Admission(tried={}).admit(file)


def test_a_damaged_file_is_refused_or_runs() -> None:
    """Half of one, or one with flipped bytes: a sentence, and this process lives on."""
    file = model_file("plain.tflite")
    for length in range(0, len(file), len(file) // 40):
        with pytest.raises(TrainingError):
            check_runnable(verify(file[:length]))
    rng = np.random.default_rng(3)
    passed, sentences = 0, list[str]()
    for _ in range(200):
        flipped = bytearray(file)
        for at in rng.integers(0, len(file), 3):
            flipped[at] ^= int(rng.integers(1, 256))
        try:
            check_runnable(verify(flipped))
            passed += 1
        except TrainingError as error:
            sentences.append(str(error))
    assert passed  # flipped weights are weights
    assert max(map(len, sentences)) < 400


X = {"x": TensorFacts((1, 2), "float32")}


def facts(main: SignatureFacts, **signatures: SignatureFacts) -> TfliteFacts:
    """Describe a file."""
    return TfliteFacts(signatures, (), 0, main)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (facts(SignatureFacts(X, {})), "the .tflite file has no outputs"),
        (facts(SignatureFacts({}, X)), "the .tflite file has no inputs"),
        (
            facts(SignatureFacts(X, {"y": TensorFacts((), "float32")})),
            "output 'y': expected a first dimension for rows",
        ),
        (
            facts(SignatureFacts(X, {"y": TensorFacts((1,), "no array")})),
            "output 'y': expected numbers or Booleans",
        ),
        (
            facts(SignatureFacts(X, X), a=SignatureFacts(X, X), b=SignatureFacts(X, X)),
            "has the signatures a, b; one of them must be called serving_default or infer",
        ),
        (
            facts(SignatureFacts({**X, "z": TensorFacts((3, 2), "float32")}, X)),
            "its inputs differ in their first dimension",
        ),
    ],
)
def test_a_file_without_a_function_that_answers_is_refused(
    found: TfliteFacts, sentence: str
) -> None:
    """At the push already."""
    with pytest.raises(TrainingError) as caught:
        check_runnable(found)
    assert sentence in str(caught.value)


def test_the_function_that_answers_is_chosen_by_name() -> None:
    """Or is the only one; without a signature, the first subgraph."""
    one = SignatureFacts(X, X)
    assert run_facts(facts(one, other=one)).signature == "other"
    assert run_facts(facts(one, a=one, infer=one)).signature == "infer"
    assert run_facts(facts(one)).signature is None
    assert run_facts(facts(one)).output_activation == "scores"
