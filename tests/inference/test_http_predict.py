"""TensorFlow Serving's JSON over HTTP, and bad input at every HTTP endpoint of predictions."""

import json
import socket
from typing import Any

import numpy as np
import pytest

from benchmarks.live_inference import LiveService
from tests.inference.model_folder import MAX_REQUEST_MB

pytestmark = pytest.mark.system

ROWS: list[Any] = (np.random.default_rng(1).integers(0, 17, (3, 64)) / 16).tolist()
PREDICT = "/v1/models/digits:predict"


def predict(service: LiveService, body: object, path: str = PREDICT) -> dict[str, Any]:
    """Send a request that is answered."""
    status, answer, _ = service.send(path, json.dumps(body).encode())
    assert status == 200, answer
    found: dict[str, Any] = json.loads(answer)
    return found


def test_rows_and_columns_have_the_same_answer(service: LiveService) -> None:
    """`instances` is answered with `predictions`, `inputs` with `outputs`, and what they mean."""
    rows = predict(service, {"instances": ROWS, "signature_name": "serving_default"})
    columns = predict(service, {"inputs": ROWS})
    assert rows["predictions"] == columns["outputs"]
    assert len(rows["predictions"]) == 3
    assert (rows["model"], rows["version"]) == ("digits", 1)
    assert rows["classes"] == columns["classes"]
    assert rows["classes"] == np.argmax(rows["predictions"], axis=1).tolist()


def test_a_version_is_chosen_in_the_path_or_behind_the_name(service: LiveService) -> None:
    """As TensorFlow Serving does, and as topics do."""
    newest = predict(service, {"instances": ROWS})
    for path in ("/v1/models/digits/versions/1:predict", "/v1/models/digits@1:predict"):
        assert predict(service, {"instances": ROWS}, path) == newest
    status, body, _ = service.send(
        "/v1/models/digits/versions/9:predict", json.dumps({"instances": ROWS}).encode()
    )
    assert (status, b"no version 9; the folder has 1" in body) == (404, True)


def test_the_state_of_a_model_is_shown(service: LiveService) -> None:
    """As TensorFlow Serving and KServe show it."""
    status, body = service.get("/v1/models/digits")
    facts = json.loads(body)
    assert (status, facts["name"], facts["ready"]) == (200, "digits", True)
    assert facts["model_version_status"][0]["state"] == "AVAILABLE"
    status, body = service.get("/v1/models/nothing")
    assert (status, b"known: " in body, b"digits" in body) == (404, True, True)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"[" * 100_000, 400, "levels of nesting"),
        (b'{"inputs": ' + b"[" * 33 + b"1" + b"]" * 33 + b"}", 400, "levels of nesting"),
        (b'{"instances": [[NaN]]}', 400, "not a finite number"),
        (b'{"instances": [[1e999]]}', 400, "not a finite number"),
        (b'{"instances": [], "inputs": []}', 400, "instances"),
        (b'{"rows": []}', 400, "instances"),
        (b'{"instances": []}', 400, "at least one row"),
        (b'{"instances": {"x": 1}}', 400, "at least one row"),
        (b'{"instances": [{"x": 1}, {"y": 1}]}', 400, "instances[1]: expected an object"),
        (b'{"instances": [[1, 2], [3]]}', 400, "instances[1]: expected 2 elements"),
        (b'{"instances": ["one"]}', 400, "expected a number, got a string"),
        (b'{"inputs": {"b64": "AAAA"}}', 400, "bytes (b64)"),
        (b'{"inputs": 7}', 400, "expected nested lists"),
        (b'{"inputs": [1], "signature_name": "train"}', 400, "serving_default"),
        (b'{"instances": [[1, 2, 3]]}', 400, "this model takes [64]"),
        (b'{"inputs": {"a": [1], "b": [2]}}', 400, "input"),
    ],
)
def test_a_wrong_body_is_refused_with_a_sentence(
    service: LiveService, body: bytes, status: int, sentence: str
) -> None:
    """And the service goes on."""
    found, answer, _ = service.send(PREDICT, body)
    assert (found, sentence in json.loads(answer)["error"]) == (status, True), answer


def test_other_content_types_and_encodings_are_refused(service: LiveService) -> None:
    """A compressed body could hold far more than its length says."""
    body = json.dumps({"instances": ROWS}).encode()
    assert service.send(PREDICT, body, Content_Type="text/xml")[0] == 415
    assert service.send(PREDICT, body, Content_Encoding="gzip")[0] == 415
    assert service.send(PREDICT, body, Content_Type="application/json; charset=utf-8")[0] == 200
    assert service.send(PREDICT, body, Request_Timeout="-1")[0] == 400
    assert service.send(PREDICT, body, Request_Timeout="soon")[0] == 400
    assert service.send(PREDICT, body, Request_Timeout="5")[0] == 200
    infer = "/v2/models/digits/infer"
    assert service.send(infer, body, Inference_Header_Content_Length="x")[0] == 400
    assert service.send(infer, body, Inference_Header_Content_Length="99999999")[0] == 400


def test_other_methods_and_paths_are_refused(service: LiveService) -> None:
    """With a sentence."""
    assert service.get(PREDICT)[0] in {404, 405}
    status, body = service.get("/v3/models")
    assert (status, b"no endpoint" in body) == (404, True)


def send_raw(service: LiveService, *parts: bytes) -> bytes:
    """Send bytes over a connection of their own, then read until the service closes it."""
    host, _, port = service.http.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        found = b""
        while block := connection.recv(65536):
            found += block
        return found


def test_a_body_in_chunks_is_read_up_to_the_limit(service: LiveService) -> None:
    """Its length is not stated, so it is counted."""
    body = json.dumps({"instances": ROWS}).encode()
    head = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: {service.http}\r\nConnection: close\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n"
    assert b"200 OK" in send_raw(service, head, chunk, b"0\r\n\r\n")
    block = b"100000\r\n" + bytes(2**20) + b"\r\n"
    host, _, port = service.http.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head + block * (MAX_REQUEST_MB + 1))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert service.get("/v2/health/live")[0] == 200


def test_a_client_that_stops_half_way_leaves_the_service_working(service: LiveService) -> None:
    """It gets no answer, and the next one does."""
    host, _, port = service.http.rpartition(":")
    for body in (b"", b'{"instances": ['):
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 999\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head.encode() + body)
    assert predict(service, {"instances": ROWS})["version"] == 1


def test_web_pages_may_not_ask_an_open_service(service: LiveService) -> None:
    """A page of another site could otherwise use it through the browser of its owner."""
    body = json.dumps({"instances": ROWS}).encode()
    assert service.send(PREDICT, body, Origin="https://example.org")[0] == 403
    assert service.send(PREDICT, body, Host="example.org")[0] == 403


def test_the_description_names_every_endpoint(service: LiveService) -> None:
    """For programs, and as a page."""
    status, body = service.get("/openapi.json")
    assert status == 200
    paths = json.loads(body)["paths"]
    assert "/v1/models/{model}:predict" in paths
    assert "/v2/models/{model}/versions/{version}/infer" in paths
    assert service.get("/docs")[0] == 200
    operations = [
        each for methods in json.loads(body)["paths"].values() for each in methods.values()
    ]
    ids = [each["operationId"] for each in operations]
    assert len(ids) == len(set(ids)), "those of /v1 and /v2 differ by a digit alone"
