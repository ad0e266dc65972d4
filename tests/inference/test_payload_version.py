"""Payloads that name a version: refused, with what to write instead, over each protocol."""

import json

import numpy as np
import pytest

from fedbus.core.events import ReplyTo
from fedbus.errors import WireError
from fedbus_inference.grpc_api.infer_messages import read_infer_message
from fedbus_inference.grpc_api.protocol.open_inference_pb2 import ModelInferRequest
from fedbus_inference.open_inference.infer_requests import read_infer_request
from fedbus_inference.payload_version import refuse_version
from fedbus_inference.predict_json import read_predict_request
from tests.inference.harness import Harness

TENSOR = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}


@pytest.mark.parametrize(
    ("payload", "instead"),
    [
        ({"version": 3}, "send this to digits@3"),
        ({"version": "production"}, "send this to digits@production"),
        ({"model_version": "3"}, "send this to digits@3"),
        ({"version": {"latest": 1}}, "send this to digits@VERSION"),
        ({"version": "a b\n"}, "send this to digits@VERSION"),
        ({"version": "v" * 65}, "send this to digits@VERSION"),
        ({"version": ""}, "send this to digits@VERSION"),
    ],
)
def test_the_sentence_says_where_a_version_is_chosen(payload: object, instead: str) -> None:
    """It quotes no more of a payload than a name."""
    assert isinstance(payload, dict)
    with pytest.raises(WireError) as refused:
        refuse_version(payload, "digits")
    assert str(refused.value).endswith(instead)
    refuse_version({"inputs": [1]}, "digits")


def test_a_request_of_a_topic_is_not_answered_by_another_version() -> None:
    """In JSON and msgpack, with whichever version; the one in the topic is followed."""
    harness = Harness()
    harness.serve(1)
    for payload in ({"inputs": [1, 2, 3], "version": 2}, {"model_version": 1, "inputs": [1, 2, 3]}):
        harness.ask(payload=json.dumps(payload).encode())
        harness.settle()
        answer = harness.answer()
        assert (answer["kind"], "version" in answer) == ("invalid", False)
        assert answer["error"].endswith(f"send this to sum@{2 if 'version' in payload else 1}")
    harness.ask(model="sum@1", payload=b'{"inputs": [1, 2, 3]}', reply=ReplyTo("r", b"9", None))
    harness.settle()
    assert harness.answer()["version"] == 1


def test_http_bodies_with_a_version_are_refused() -> None:
    """TensorFlow Serving's and the Open Inference Protocol's, its parameters too."""
    body = json.dumps({"instances": [[1]], "version": 3}).encode()
    with pytest.raises(WireError, match="send this to MODEL@3"):
        read_predict_request(body, 10)
    for stated in ({"model_version": "3"}, {"parameters": {"version": "3"}}):
        body = json.dumps({"inputs": [TENSOR], **stated}).encode()
        with pytest.raises(WireError, match="send this to MODEL@3"):
            read_infer_request(body, None, 10)
    message = ModelInferRequest(inputs=[{"name": "x", "shape": [1], "datatype": "FP32"}])
    message.inputs[0].contents.fp32_contents.append(1)
    message.parameters["version"].string_param = "3"
    with pytest.raises(WireError, match="send this to MODEL@3"):
        read_infer_message(message, 10)
    accepted = read_infer_request(json.dumps({"inputs": [TENSOR]}).encode(), None, 10)
    np.testing.assert_array_equal(accepted.inputs["x"], [1])
