"""Predictions in a worker thread: each request gets an answer or a refusal."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import msgpack
import numpy as np
import pytest

from fedbus.core.actions import Reply
from fedbus.errors import TrainingError
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.model.layout import Array
from fedbus_inference.batch_prediction import PredictedOutputs, predict_batch
from fedbus_inference.encoding import Encoding
from fedbus_inference.input_spec import InputSpec
from fedbus_inference.inputs import Inputs
from fedbus_inference.prediction import (
    Answer,
    PredictionRequest,
    answer_requests,
)
from fedbus_inference.served_version import NamedArrays, Predictor, ServedVersion
from tests.inference.harness import FAULTY, REPLY, Sums

if TYPE_CHECKING:
    from fedbus.datasource.preprocessing import Preprocessing

MAX_ELEMENTS = 1000
ROW = {"inputs": InputSpec((3,))}


class Says:
    """Answers whatever it was told to."""

    def __init__(self, outputs: Array) -> None:
        self.outputs = outputs

    def predict(self, inputs: Array) -> Array:
        assert len(inputs)
        return self.outputs


def served(predictor: Predictor, shape: tuple[int, ...] | None = (3,)) -> ServedVersion:
    """Make version 4 of a model."""
    return ServedVersion("sum", 4, {"inputs": InputSpec(shape)}, predictor)


def request(inputs: object) -> PredictionRequest:
    """Ask in JSON."""
    return PredictionRequest(json.dumps({"inputs": inputs}).encode(), Encoding.JSON, REPLY)


def packed(inputs: object) -> PredictionRequest:
    """Ask in msgpack."""
    return PredictionRequest(msgpack.packb({"inputs": inputs}), Encoding.MSGPACK, REPLY)


def replies_of(served: ServedVersion, *requests: PredictionRequest) -> list[Reply]:
    """Answer requests of a topic."""
    found = answer_requests(served, requests, MAX_ELEMENTS).replies
    return [reply for reply in found if isinstance(reply, Reply)]


def said(reply: Answer) -> dict[str, Any]:
    """Read an answer in JSON."""
    assert isinstance(reply, Reply)
    facts: dict[str, Any] = json.loads(reply.payload)
    return facts


def test_the_answer_names_model_and_version() -> None:
    """The caller knows who answered."""
    (reply,) = replies_of(served(Sums(0.5, {})), request([[1, 2, 3]]))
    assert reply.to is REPLY
    assert reply.content_type == "application/json"
    assert said(reply) == {"model": "sum", "version": 4, "outputs": [[6.5]]}


def test_msgpack_lists_are_answered_with_msgpack_lists() -> None:
    """The answer comes in the encoding of the question."""
    (reply,) = replies_of(served(Sums(0, {})), packed([1, 2, 3]))
    assert reply.content_type == "application/msgpack"
    assert msgpack.unpackb(reply.payload)["outputs"] == [[6.0]]


def test_a_raw_array_is_answered_with_a_raw_array() -> None:
    """Who packs numbers tightly wants them back so."""
    inputs = {"dtype": "float32", "shape": [3], "data": np.ones(3, "<f4").tobytes()}
    (reply,) = replies_of(served(Sums(0, {})), packed(inputs))
    outputs = msgpack.unpackb(reply.payload)["outputs"]
    assert outputs == {
        "dtype": "float32",
        "shape": [1, 1],
        "data": np.full(1, 3, "<f4").tobytes(),
    }


def test_requests_that_waited_together_make_one_batch() -> None:
    """Many requests cost one call of the framework, and each gets its own rows."""
    sums = Sums(0, {})
    crowd = [request([1, 1, 1]), request([[2, 2, 2], [3, 3, 3]]), request([4, 4, 4])]
    answers = answer_requests(served(sums), crowd, MAX_ELEMENTS)
    assert sums.batches == [4]
    assert [said(reply)["outputs"] for reply in answers.replies] == [[[3]], [[6], [9]], [[12]]]
    assert answers.refused == 0


def test_a_bad_request_does_not_spoil_the_others() -> None:
    """It is refused by itself, before the batch is made."""
    sums = Sums(0, {})
    answers = answer_requests(
        served(sums), [request([1, 1]), request([1, 1, 1]), request([2, 2, 2])], MAX_ELEMENTS
    )
    assert sums.batches == [2]
    assert answers.refused == 1
    assert "inputs of shape [2]" in said(answers.replies[0])["error"]


def test_values_that_the_model_cannot_take_fail_alone() -> None:
    """The batch is taken apart, so no request is refused because of another."""
    crowd = [request([1, 1, 1]), request([FAULTY, 0, 0])]
    answers = answer_requests(served(Sums(0, {})), crowd, MAX_ELEMENTS)
    good, bad = map(said, answers.replies)
    assert good["outputs"] == [[3]]
    assert bad == {
        "error": "version 4 could not answer: ValueError: thirteen",
        "model": "sum",
        "kind": "failed",
    }
    assert answers.refused == 1
    assert answers.failure == "ValueError: thirteen"


class Transforms:
    """Stands for a preprocessing that cannot transform a row that begins with 13."""

    max_row_bytes = 1

    def __init__(self, cause: Exception) -> None:
        self.cause = cause

    def apply(self, rows: Array) -> Array:
        if (rows[:, 0] == FAULTY).any():
            raise TrainingError(f"transform 1 (t): {self.cause}") from self.cause
        return rows


@pytest.mark.parametrize(
    ("cause", "kind", "failure"),
    [
        (TrainingError("x holds 2"), "invalid", ""),
        (ZeroDivisionError("by 0"), "failed", "transform 1 (t): by 0"),
    ],
)
def test_a_row_that_a_transform_refuses_is_wrong_and_an_error_of_its_code_is_a_failure(
    cause: Exception, kind: str, failure: str
) -> None:
    """Whether the caller must change the request decides; the others are answered."""
    made = replace(served(Sums(0, {})), preprocessing=cast("Preprocessing", Transforms(cause)))
    answers = answer_requests(made, [request([1, 1, 1]), request([FAULTY, 0, 0])], MAX_ELEMENTS)
    good, bad = map(said, answers.replies)
    assert good["outputs"] == [[3]]
    assert bad["kind"] == kind
    assert bool(answers.failure) == bool(failure)
    assert failure in answers.failure


def test_batches_that_are_large_together_go_one_by_one() -> None:
    """The limit of one request bounds their sum too."""
    sums = Sums(0, {})
    answer_requests(served(sums), [request([[1, 1, 1]] * 3), request([1, 1, 1])], 9)
    assert sums.batches == [3, 1]


def test_rows_of_different_shapes_go_one_by_one() -> None:
    """A model whose spec says no shape may take them all the same."""
    sums = Sums(0, {})
    answer_requests(served(sums, None), [request([[1, 1]]), request([[1, 1, 1]])], MAX_ELEMENTS)
    assert sums.batches == [1, 1]


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        pytest.param(np.zeros((2, 1)), "float64 of shape (2, 1)", id="rows"),
        pytest.param(np.zeros(()), "float64 of shape ()", id="no-rows"),
        pytest.param(np.array([None]), "object of shape (1,)", id="objects"),
    ],
)
def test_a_model_that_answers_oddly_is_told_apart(outputs: Array, found: str) -> None:
    """One output for each example, and numbers only, whatever a plug-in returns."""
    (reply,) = answer_requests(served(Says(outputs)), [request([1, 2, 3])], MAX_ELEMENTS).replies
    assert f"expected one output for each of 1 examples, got {found}" in said(reply)["error"]


def test_an_answer_too_large_for_the_broker_becomes_a_sentence() -> None:
    """A broker disconnects a client that publishes a larger packet than it accepts."""
    outputs = np.full((1, 200_000), 1 / 3)
    answers = answer_requests(served(Says(outputs)), [request([1, 2, 3])], MAX_ELEMENTS)
    (reply,) = answers.replies
    assert answers.refused == 1
    assert "send fewer than 1 examples at once" in said(reply)["error"]


def test_a_request_too_large_is_refused_unread() -> None:
    """What cannot have come through the broker is not parsed."""
    large = PredictionRequest(b" " * (MAX_MESSAGE_BYTES + 1), Encoding.JSON, REPLY)
    (reply,) = replies_of(served(Sums(0, {})), large)
    assert (
        said(reply)["error"]
        == f"expected a request of at most {MAX_MESSAGE_BYTES} bytes, got {MAX_MESSAGE_BYTES + 1}"
    )


def test_an_empty_request_is_said_to_be_empty() -> None:
    """A client that publishes nothing is not told where its JSON is wrong."""
    (reply,) = answer_requests(
        served(Sums(0, {})), [PredictionRequest(b"", Encoding.JSON, REPLY)], MAX_ELEMENTS
    ).replies
    assert said(reply)["error"].startswith('expected a map with "inputs", got an empty request')


@pytest.mark.parametrize("payload", [b"[]", b"3", b'{"input": [1, 2, 3]}'])
def test_a_request_without_inputs_is_told_how_to_write_one(payload: bytes) -> None:
    """The sentence names the key and the shape."""
    (reply,) = answer_requests(
        served(Sums(0, {})), [PredictionRequest(payload, Encoding.JSON, REPLY)], MAX_ELEMENTS
    ).replies
    assert said(reply)["error"] == (
        'expected a map with "inputs", got another value; this model takes [3] (float32), or '
        "[n, 3] for n examples"
    )


class Ends(Says):
    """A model that knows its last operation."""

    output_activation = "scores"


SCORES = np.array([[0.0, 2.0], [3.0, 1.0]], np.float32)
TWO = [[1, 2, 3], [4, 5, 6]]


def test_outputs_are_the_models_own_and_probabilities_stand_beside_scores() -> None:
    """What the framework's own predict gives; and the class by its name."""
    made = ServedVersion("sum", 4, ROW, Ends(SCORES), "classes", ("cat", "dog"))
    facts = said(answer_requests(made, [request(TWO)], MAX_ELEMENTS).replies[0])
    assert facts["outputs"] == SCORES.tolist()
    assert (facts["answers"], facts["classes"]) == ("classes", ["dog", "cat"])
    np.testing.assert_allclose(np.sum(facts["probabilities"], axis=1), 1, rtol=1e-6)
    raw = {"dtype": "float32", "shape": [2, 3], "data": bytes(24)}
    packed_facts = msgpack.unpackb(replies_of(made, packed(raw))[0].payload)
    assert packed_facts["probabilities"]["shape"] == [2, 2]
    assert packed_facts["classes"] == ["dog", "cat"]


def test_one_output_is_not_made_certain() -> None:
    """A softmax over it would answer 1.0 to everything."""
    values = ServedVersion("sum", 4, ROW, Ends(SCORES[:, 1:]), "values")
    assert said(answer_requests(values, [request(TWO)], MAX_ELEMENTS).replies[0]) == {
        "model": "sum",
        "version": 4,
        "answers": "values",
        "outputs": [[2.0], [1.0]],
    }
    likely = ServedVersion("sum", 4, ROW, Ends(SCORES[:, 1:]), "probabilities")
    facts = said(answer_requests(likely, [request(TWO)], MAX_ELEMENTS).replies[0])
    np.testing.assert_allclose(facts["outputs"], 1 / (1 + np.exp(-SCORES[:, 1:])), rtol=1e-6)


class Several:
    """Answers two arrays by name."""

    def predict(self, inputs: Array) -> dict[str, Array]:
        return {"sum": inputs.sum(axis=1), "rows": inputs * 2}


def test_several_outputs_come_by_name() -> None:
    """Each request gets its own rows of all of them, though they made one batch."""
    made = ServedVersion("sum", 4, ROW, Several(), "values")
    first, second = map(
        said, answer_requests(made, [request(TWO), request([1, 1, 1])], MAX_ELEMENTS).replies
    )
    assert first["outputs"] == {"sum": [6.0, 15.0], "rows": [[2, 4, 6], [8, 10, 12]]}
    assert second["outputs"] == {"sum": [3.0], "rows": [[2, 2, 2]]}
    assert set(second) == {"model", "version", "outputs"}


class Weighs:
    """A model with two inputs."""

    def predict(self, inputs: Array) -> Array:
        raise AssertionError(inputs)

    def predict_named(self, inputs: NamedArrays) -> Array:
        total: Array = inputs["rows"].sum(axis=1) * inputs["factor"]
        return total


def test_a_model_with_several_inputs_gets_them_by_name() -> None:
    """Waiting requests make one batch here too."""
    specs = {"rows": InputSpec((3,)), "factor": InputSpec(())}
    made = ServedVersion("sum", 4, specs, Weighs())
    crowd = [request({"rows": TWO, "factor": [1, 2]}), request({"factor": [3], "rows": [1, 1, 1]})]
    first, second = map(said, answer_requests(made, crowd, MAX_ELEMENTS).replies)
    assert first["outputs"] == [6.0, 30.0]
    assert second["outputs"] == [9.0]


def test_a_runtime_for_one_input_says_so() -> None:
    """A spec may declare more than its framework takes."""
    made = ServedVersion("sum", 4, {"a": InputSpec(()), "b": InputSpec(())}, Sums(0, {}))
    sentence = said(answer_requests(made, [request({"a": 1, "b": 2})], 9).replies[0])["error"]
    assert sentence.startswith("inputs.a: expected nested lists")
    sentence = said(answer_requests(made, [request({"a": [1], "b": [2]})], 9).replies[0])["error"]
    assert "the spec declares 2 inputs, and this runtime gives its models one" in sentence


def test_warnings_stand_in_the_answer() -> None:
    """What the caller should know of its inputs, and only where there is something."""
    made = ServedVersion("sum", 4, ROW, Sums(0, {}))
    warned = Inputs({"inputs": np.ones((1, 3), np.float32)}, ("odd",))
    (found,) = predict_batch(made, [warned], MAX_ELEMENTS)
    assert isinstance(found, PredictedOutputs)
    assert found.to_answer(as_raw=False)["warnings"] == ["odd"]
    assert predict_batch(made, [], MAX_ELEMENTS) == []
