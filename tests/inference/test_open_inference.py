"""The Open Inference Protocol, asked by Triton's client, of a service in a process of its own."""

from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from benchmarks.live_inference import LiveService
from fedbus_inference.standalone.local_model import LocalModel
from tests.inference.model_folder import MAX_REQUEST_MB, ModelFolder

pytestmark = pytest.mark.system

ROWS = (np.random.default_rng(1).integers(0, 17, (5, 64)) / 16).astype(np.float32)


@pytest.fixture(scope="module")
def expected(models: ModelFolder) -> NDArray[Any]:
    """Compute the answer in this process; `test_doors.py` compares it with the topic's."""
    answer = LocalModel(models.path / "digits").answer(ROWS.tolist())
    return np.asarray(answer["outputs"])


def test_triton_s_http_client(service: LiveService, expected: NDArray[Any]) -> None:
    """Health, metadata and predictions, in JSON and in bytes, are those of the model itself."""
    client = triton_http.InferenceServerClient(service.http)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "1")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("digits")
    assert (metadata["name"], metadata["versions"]) == ("digits", ["1"])
    (stated,) = metadata["inputs"]
    assert (stated["datatype"], stated["shape"]) == ("FP32", [-1, 64])
    (output,) = metadata["outputs"]
    for binary in (True, False):
        tensor = triton_http.InferInput(stated["name"], list(ROWS.shape), "FP32")
        tensor.set_data_from_numpy(ROWS, binary_data=binary)
        wanted = triton_http.InferRequestedOutput(output["name"], binary_data=binary)
        answer = client.infer("digits", [tensor], outputs=[wanted], request_id="7")
        np.testing.assert_allclose(answer.as_numpy(output["name"]), expected, rtol=1e-6)
        facts = answer.get_response()
        assert (facts["id"], facts["model_version"]) == ("7", "1")
    client.close()


def test_triton_s_grpc_client(service: LiveService, expected: NDArray[Any]) -> None:
    """The same over gRPC, with raw tensors, as this client sends them."""
    with triton_grpc.InferenceServerClient(service.grpc) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("digits")
        assert not client.is_model_ready("nothing")
        assert client.get_server_metadata().name == "fedbus-inference"
        metadata = client.get_model_metadata("digits", as_json=True)
        (stated,), (output,) = metadata["inputs"], metadata["outputs"]
        assert (stated["datatype"], stated["shape"]) == ("FP32", ["-1", "64"])
        tensor = triton_grpc.InferInput(stated["name"], list(ROWS.shape), "FP32")
        tensor.set_data_from_numpy(ROWS)
        wanted = triton_grpc.InferRequestedOutput(output["name"])
        answer = client.infer("digits", [tensor], outputs=[wanted], request_id="7")
        np.testing.assert_allclose(answer.as_numpy(output["name"]), expected, rtol=1e-6)
        assert answer.get_response().id == "7"


@pytest.mark.parametrize(
    ("model", "version", "rows", "said"),
    [
        ("nothing", "", ROWS, "no model 'nothing' here"),
        ("digits", "9", ROWS, "9"),
        ("digits", "", ROWS[:, :10], "this model takes [64]"),
        ("digits", "", ROWS.astype("O").astype("S4"), "BYTES"),
    ],
)
def test_refusals_reach_both_clients_as_sentences(
    service: LiveService, model: str, version: str, rows: NDArray[Any], said: str
) -> None:
    """With the status that each protocol has for it."""
    http = triton_http.InferenceServerClient(service.http)
    grpc = triton_grpc.InferenceServerClient(service.grpc)
    kind = "BYTES" if rows.dtype.kind == "S" else "FP32"
    for client, module in ((http, triton_http), (grpc, triton_grpc)):
        tensor = module.InferInput("inputs", list(rows.shape), kind)
        tensor.set_data_from_numpy(rows.astype(np.object_) if kind == "BYTES" else rows)
        with pytest.raises(InferenceServerException) as refused:
            client.infer(model, [tensor], model_version=version)
        assert said in refused.value.message()
        client.close()


def test_an_output_that_the_model_lacks_is_refused(service: LiveService) -> None:
    """Over both protocols."""
    http = triton_http.InferenceServerClient(service.http)
    grpc = triton_grpc.InferenceServerClient(service.grpc)
    for client, module in ((http, triton_http), (grpc, triton_grpc)):
        tensor = module.InferInput("inputs", list(ROWS.shape), "FP32")
        tensor.set_data_from_numpy(ROWS)
        with pytest.raises(InferenceServerException, match="nowhere"):
            client.infer("digits", [tensor], outputs=[module.InferRequestedOutput("nowhere")])
        client.close()


def test_a_message_above_the_limit_is_refused_before_it_is_read(service: LiveService) -> None:
    """Over gRPC by its size, over HTTP by its stated length."""
    rows = np.zeros((MAX_REQUEST_MB * 2**20 // 256 + 1, 64), np.float32)
    with triton_grpc.InferenceServerClient(service.grpc) as client:
        tensor = triton_grpc.InferInput("inputs", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows)
        with pytest.raises(InferenceServerException, match=r"RESOURCE_EXHAUSTED|larger than max"):
            client.infer("digits", [tensor])
    status, body, _ = service.send("/v2/models/digits/infer", rows.tobytes())
    assert (status, b"at most %d" % (MAX_REQUEST_MB * 2**20) in body) == (413, True)
    assert service.get("/v2/health/live")[0] == 200
