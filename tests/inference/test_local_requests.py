"""Requests of this process's own servers: each is answered by one outcome."""

import json

import msgpack
import numpy as np
import pytest

from fedbus.core.actions import Deliver
from fedbus.core.events import Stopping
from fedbus.model.layout import Array
from fedbus_inference.batch_prediction import PredictedOutputs, predict_batch
from fedbus_inference.encoding import Encoding
from fedbus_inference.input_spec import InputSpec
from fedbus_inference.inputs import Inputs
from fedbus_inference.local_requests import LocalPrediction, PredictionOutcome, RefusalKind
from fedbus_inference.prediction import answer_requests, to_outcome
from fedbus_inference.served_version import ServedVersion
from fedbus_inference.settings import InferenceSettings
from tests.inference.harness import FAULTY, Harness

ROWS = np.array([[1, 2, 3], [0, 0, 1]], np.float32)


class Halves:
    """A model with two outputs."""

    def predict(self, inputs: Array) -> dict[str, Array]:
        return {"left": inputs[:, :1], "right": inputs[:, 1:]}


def refusal(harness: Harness) -> tuple[RefusalKind | None, str]:
    """Return and clear the only outcome, which is a refusal."""
    (outcome,) = harness.outcomes
    harness.outcomes.clear()
    assert outcome.version is None
    assert not outcome.outputs
    return outcome.refusal, outcome.error


def test_arrays_are_answered_with_arrays() -> None:
    """No encoding between them, and the model and version that answered."""
    harness = Harness()
    harness.serve(2)
    harness.predict({"x": ROWS})
    harness.settle()
    (outcome,) = harness.outcomes
    assert (outcome.model, outcome.version, outcome.refusal) == ("sum", 2, None)
    assert outcome.outputs["outputs"].tolist() == [[8], [3]]
    assert harness.core.counts["requests_answered"] == 1


def test_one_example_is_a_batch_of_one_and_dtypes_are_converted() -> None:
    """As for requests on a topic."""
    harness = Harness()
    harness.serve(1)
    harness.predict({"x": np.array([1, 2, 3], np.int64)})
    harness.settle()
    assert harness.outcomes[0].outputs["outputs"].tolist() == [[7]]


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [
        (Encoding.JSON, json.dumps({"inputs": ROWS.tolist()}).encode()),
        (Encoding.MSGPACK, msgpack.packb({"inputs": ROWS.tolist()})),
    ],
)
def test_a_payload_is_read_as_one_on_a_topic(encoding: Encoding, payload: bytes) -> None:
    """A server passes on what it received."""
    harness = Harness()
    harness.serve(1)
    harness.predict(payload=payload, encoding=encoding)
    harness.settle()
    assert harness.outcomes[0].outputs["outputs"].tolist() == [[7], [2]]


def test_requests_of_topics_and_of_this_process_go_together() -> None:
    """One queue, one batch."""
    harness = Harness()
    harness.serve(1)
    harness.ask()
    harness.ask()
    harness.predict({"x": ROWS})
    harness.settle()
    assert harness.loaded[0].batches == [1, 1, 3]
    assert len(harness.answers()) == 2
    assert len(harness.outcomes) == 1


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ({"x": np.zeros((2, 2), np.float32)}, "inputs of shape [2, 2]; this model takes [3]"),
        ({"x": np.zeros((0, 3), np.float32)}, "contain no number"),
        ({"x": np.array([[1, np.nan, 0]], np.float32)}, "inputs[0][1] is not a finite number"),
        ({"x": np.array([["a", "b", "c"]])}, "inputs.dtype: expected one of"),
        ({"x": ROWS, "y": ROWS}, "inputs: no input 'x'; this model takes 'inputs'"),
        ({}, "inputs: 'inputs' is missing"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(inputs: dict[str, Array], error: str) -> None:
    """With the sentence that a topic's client gets."""
    harness = Harness()
    harness.serve(1)
    harness.predict(inputs)
    harness.settle()
    kind, sentence = refusal(harness)
    assert kind is RefusalKind.INVALID
    assert error in sentence


def test_too_many_numbers_are_refused() -> None:
    """The limit of a request on a topic holds."""
    harness = Harness(settings=InferenceSettings(max_input_elements=5))
    harness.serve(1)
    harness.predict({"x": ROWS})
    harness.settle()
    assert refusal(harness) == (
        RefusalKind.INVALID,
        "inputs: expected at most 5 numbers, got 6; send fewer examples",
    )


def test_normalized_models_refuse_other_numbers() -> None:
    """As those on a topic."""
    served = ServedVersion("halves", 1, {"inputs": InputSpec((3,), normalized=True)}, Halves())
    found: list[PredictionOutcome] = []
    request = LocalPrediction("halves", found.append, inputs={"x": ROWS})
    (answer,) = answer_requests(served, [request], 100).replies
    assert isinstance(answer, Deliver)
    answer.to(answer.result)
    assert found[0].refusal is RefusalKind.INVALID
    assert "scale the inputs" in found[0].error


@pytest.mark.parametrize(("wanted", "names"), [((), ["left", "right"]), (("right",), ["right"])])
def test_wanted_outputs_come_alone(wanted: tuple[str, ...], names: list[str]) -> None:
    """All, if none is named."""
    served = ServedVersion("halves", 1, {"inputs": InputSpec((3,))}, Halves())
    (found,) = predict_batch(served, [Inputs({"inputs": ROWS})], 100)
    assert isinstance(found, PredictedOutputs)
    outcome = to_outcome(found, wanted)
    assert list(outcome.outputs) == names
    assert outcome.answers is None


def test_an_unknown_output_is_refused_with_those_that_exist() -> None:
    """By name."""
    harness = Harness()
    harness.serve(1)
    harness.predict({"x": ROWS}, outputs=("scores",))
    harness.settle()
    assert refusal(harness) == (
        RefusalKind.INVALID,
        "outputs: this model has no 'scores'; it has outputs",
    )


def test_a_model_that_fails_is_said() -> None:
    """The caller learns that the request was right."""
    harness = Harness()
    harness.serve(1)
    harness.predict({"x": np.array([[FAULTY, 0, 0]], np.float32)})
    harness.settle()
    kind, sentence = refusal(harness)
    assert kind is RefusalKind.FAILED
    assert "thirteen" in sentence


def test_unknown_models_and_versions_are_not_found() -> None:
    """At once, with those that are known."""
    harness = Harness()
    harness.serve(1)
    harness.predict({"x": ROWS}, model="sun")
    assert refusal(harness) == (RefusalKind.NOT_FOUND, "no model 'sun' here; known: sum")
    harness.predict({"x": ROWS}, choice="no such thing")
    kind, sentence = refusal(harness)
    assert kind is RefusalKind.NOT_FOUND
    assert "is no version of model 'sum'" in sentence
    harness.predict({"x": ROWS}, choice="1")
    harness.settle()
    assert harness.outcomes[0].version == 1


def test_a_request_has_a_timeout_of_its_own() -> None:
    """As its client states it."""
    harness = Harness()
    harness.announce(1)
    harness.predict({"x": ROWS}, timeout=1.0)
    harness.wait(1.0)
    assert refusal(harness)[0] is RefusalKind.DEADLINE


def test_full_loading_and_stopping_are_told_apart() -> None:
    """A server maps each to a status code."""
    harness = Harness(settings=InferenceSettings(max_queued_requests=1))
    harness.announce(1)
    harness.predict({"x": ROWS})
    harness.predict({"x": ROWS})
    assert refusal(harness)[0] is RefusalKind.OVERLOADED
    harness.handle(Stopping())
    assert refusal(harness)[0] is RefusalKind.STOPPING
    other = Harness(frameworks=("torch",))
    other.announce(1)
    other.settle()
    other.predict({"x": ROWS})
    assert refusal(other)[0] is RefusalKind.LOADING


def test_a_status_says_which_versions_answer() -> None:
    """And why one does not."""
    harness = Harness()
    assert harness.core.status("sum") is None
    harness.announce(1)
    first = harness.core.status("sum")
    assert first is not None
    assert (first.ready, first.reason) == (False, "the first version is being loaded")
    assert [(each.version, each.ready) for each in first.versions] == [(1, False)]
    harness.settle()
    harness.announce(2)
    (both,) = harness.core.statuses()
    assert both.ready
    assert both.default == 1
    assert [(each.version, each.ready, each.reason) for each in both.versions] == [
        (1, True, ""),
        (2, False, "it is being loaded"),
    ]
    found = both.version(1)
    assert found is not None
    assert found.served is not None
    assert found.served.inputs["inputs"].shape == (3,)
    assert {name: each.shape for name, each in found.served.outputs.items()} == {"outputs": (1,)}
    assert both.version(9) is None
