"""The inference service alone: models of a local folder, no broker, no repository."""

import json
import shutil
import time
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from benchmarks.live_inference import LiveService
from tests.inference.model_folder import DEMO, ModelFolder

pytestmark = pytest.mark.system

IMAGE, EXTRA = np.arange(8, dtype="f4").reshape(2, 4), np.array([[1, 2], [3, 4]], "i4")
SWAPPED = '"model": "changing", "version": %d, "event": "model_swapped"'
ROWS: list[Any] = (np.random.default_rng(1).integers(0, 17, (3, 64)) / 16).tolist()


def predict(service: LiveService, model: str = "digits") -> dict[str, Any]:
    """Ask over HTTP."""
    body = json.dumps({"instances": ROWS}).encode()
    status, answer, _ = service.send(f"/v1/models/{model}:predict", body)
    assert status == 200, answer
    found: dict[str, Any] = json.loads(answer)
    return found


def test_a_folder_of_models_is_served_without_a_broker(service: LiveService) -> None:
    """A pushed model and a plain file; the process is healthy."""
    answer = predict(service)
    assert (answer["model"], answer["version"], len(answer["predictions"])) == ("digits", 1, 3)
    service.until_ready("plain")
    assert np.shape(predict(service, "plain")["predictions"]) == (3, 10)
    status, body = service.get("/healthz")
    assert (status, json.loads(body)["connected"]) == (200, True)


def test_named_inputs_and_outputs_have_one_answer_over_each_protocol(service: LiveService) -> None:
    """An ONNX file with two inputs, of two datatypes, and two outputs: clients of Triton, JSON."""
    service.until_ready("two")
    named = {"image": IMAGE.tolist(), "extra": EXTRA.tolist()}
    status, body, _ = service.send("/v1/models/two:predict", json.dumps({"inputs": named}).encode())
    assert status == 200, body
    columns = json.loads(body)["outputs"]
    assert set(columns) == {"total", "twice"}
    rows = [{"image": IMAGE[i].tolist(), "extra": EXTRA[i].tolist()} for i in range(2)]
    _, body, _ = service.send("/v1/models/two:predict", json.dumps({"instances": rows}).encode())
    for index, row in enumerate(json.loads(body)["predictions"]):
        assert row == {name: columns[name][index] for name in columns}
    http = triton_http.InferenceServerClient(service.http)
    grpc = triton_grpc.InferenceServerClient(service.grpc)
    for client, module in ((http, triton_http), (grpc, triton_grpc)):
        image = module.InferInput("image", [2, 4], "FP32")
        extra = module.InferInput("extra", [2, 2], "INT32")
        image.set_data_from_numpy(IMAGE)
        extra.set_data_from_numpy(EXTRA)
        answer = client.infer("two", [extra, image])
        for name, expected in columns.items():
            np.testing.assert_allclose(answer.as_numpy(name), expected, rtol=1e-6)
        only = client.infer("two", [extra, image], outputs=[module.InferRequestedOutput("twice")])
        assert only.as_numpy("total") is None
        with pytest.raises(InferenceServerException, match="'extra' is missing"):
            client.infer("two", [image])
        client.close()


def test_changes_are_picked_up_while_the_service_runs(
    service: LiveService, models: ModelFolder
) -> None:
    """A new version answers; a damaged one does not take its place, and says why in the log."""
    models.write_version("changing", 1)
    service.until_ready("changing")
    before = predict(service, "changing")
    models.write_version("changing", 2, scale=0.0)
    service.until_log(SWAPPED % 2)
    after = predict(service, "changing")
    assert after["version"] == 2
    np.testing.assert_allclose(after["predictions"], 0.1, rtol=1e-5)
    assert before["predictions"] != after["predictions"]
    torn = models.path / "changing/3"
    torn.mkdir()
    (torn / "model.json").write_bytes((DEMO / "model.json").read_bytes())
    (torn / "digits.tflite").write_bytes((DEMO / "digits.tflite").read_bytes()[:5000])
    service.until_log("model_folder_put_aside")
    assert predict(service, "changing") == after
    shutil.copy(DEMO / "digits.tflite", torn / "digits.tflite")
    service.until_log(SWAPPED % 3)
    assert predict(service, "changing")["version"] == 3


def test_an_older_version_answers_when_it_is_asked_for(
    service: LiveService, models: ModelFolder
) -> None:
    """It is loaded then; until it is, the service says when to ask again."""
    for version, scale in ((1, None), (2, 0.0)):
        models.write_version("older", version, scale=scale)
    service.until_ready("older")
    before = predict(service) | {"model": "older"}
    body, path = json.dumps({"instances": ROWS}).encode(), "/v1/models/older/versions/{}:predict"
    for _ in range(100):
        status, answer, headers = service.send(path.format(1), body)
        if status != 503:
            break
        time.sleep(float(headers["Retry-After"]) / 10)
    assert (status, json.loads(answer)) == (200, before), service.log.read_text()
    assert predict(service, "older")["version"] == 2
    for _ in range(100):
        status, answer, headers = service.send(path.format(9), body)
        if status != 503:
            break
        time.sleep(float(headers["Retry-After"]) / 10)
    assert (status, b"no version 9; the folder has 1, 2" in answer) == (404, True), answer
