"""Every door of inference gives the numbers of the framework called directly, in each runtime."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import grpc
import msgpack
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

import fedbus
from benchmarks.live_inference import LiveService, live_service
from fedbus.client.inference import JSON, MSGPACK, raw, request
from fedbus.client.model_inputs import InputTerms, complete_input
from fedbus.client.model_outputs import OutputOptions
from fedbus.client.packing import read_model
from fedbus.data.digits import digits
from fedbus.frameworks.tflite.file import new_interpreter
from fedbus.model.layout import Array
from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus_inference.grpc_api.protocol.basic_inference_pb2 import (
    BasicInferenceRequest,
    BasicInferenceResponse,
)
from fedbus_inference.grpc_api.tensor32 import read_tensor32, write_tensor32
from fedbus_inference.standalone.local_model import LocalModel
from tests.fedbus.frameworks.model_files_data import FOLDER, model_file

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not all(map(find_spec, ("tflite_runtime", "onnxruntime", "torch", "keras"))),
        reason="not every framework is installed",
    ),
]
DEMO: Final = Path(str(fedbus.__file__)).parent / "demo_data"
LABELS: Final = tuple(f"digit-{number}" for number in range(10))
PIXELS: Final = np.rint(digits()[0][:7] * 16).astype(np.float32)
"""What a device reads: 0 to 16."""
LONG: Final = 120.0
STEPS: Final = json.dumps(
    [
        {"id": "normalize", "parameters": {"high": 16}},
        {"id": "one-hot", "parameters": {"classes": 10}},
    ]
)


@dataclass(frozen=True)
class Answer:
    """What a door said: outputs, and labels where its protocol has a place for them."""

    outputs: Array
    classes: list[str] | None = None


@dataclass(frozen=True)
class Models:
    """A broker with a repository that has the models, and the right outputs of each.

    They are computed by the framework's own interface, or with numpy alone.
    """

    broker: BrokerAddress
    expected: Mapping[str, Array]


def expected(weights: Mapping[str, Array]) -> dict[str, Array]:
    """Compute the outputs of each model; `weights` are those of the demo's network."""
    rows = PIXELS / np.float32(16)
    hidden = np.maximum(rows @ weights["layers.0.weight"] + weights["layers.0.bias"], 0)
    by_numpy = softmax(hidden @ weights["layers.1.weight"] + weights["layers.1.bias"])
    found = {DIGITS: by_numpy}
    for name in FILES:
        found[model_name(name)] = CALLS[name.rpartition(".")[2]](model_file(name), rows)
    return found


def softmax(scores: Array) -> Array:
    """Return probabilities."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: Array = powers / powers.sum(axis=1, keepdims=True)
    return found


def by_tflite(file: bytes, rows: Array) -> Array:
    """Call the interpreter row by row, quantizing as the file's details say.

    It is the one that fits this process: where TensorFlow is loaded, tflite-runtime reads no file.
    """
    interpreter = new_interpreter(file)
    interpreter.allocate_tensors()
    (taken,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for row in rows:
        given = np.zeros(taken["shape"], np.float32)
        given[0] = row
        scale, zero = taken["quantization"]
        if scale:
            bounds = np.iinfo(taken["dtype"])
            given = np.clip(np.round(given / scale) + zero, bounds.min, bounds.max)
        interpreter.set_tensor(taken["index"], given.astype(taken["dtype"]))
        interpreter.invoke()
        output = interpreter.get_tensor(made["index"])[0].astype(np.float32)
        scale, zero = made["quantization"]
        found.append((output - zero) * scale if scale else output)
    return np.array(found, np.float32)


def by_onnx(file: bytes, rows: Array) -> Array:
    """Call a session, three rows at a time: one file takes no other number."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    found: list[Array] = []
    for first in range(0, len(rows), 3):
        part = np.zeros((3, 64), np.float32)
        part[: len(rows[first : first + 3])] = rows[first : first + 3]
        found.extend(session.run(None, {taken.name: part})[0])
    return np.array(found[: len(rows)])


CALLS: Final = {"tflite": by_tflite, "onnx": by_onnx}


# ── the doors ─────────────────────────────────────────────────────────────────────────────────────


def over_topic(content_type: str) -> Callable[[LiveService, Models, str], Answer]:
    """Return the door of requests over the broker, in JSON or in msgpack."""

    def door(_: LiveService, models: Models, model: str) -> Answer:
        inputs = {"inputs": PIXELS.tolist() if content_type == JSON else raw(PIXELS)}
        payload = json.dumps(inputs).encode() if content_type == JSON else msgpack.packb(inputs)

        async def ask() -> Mapping[str, Any]:
            async with fedbus.connect(models.broker.url) as fed:
                return await request(fed.connection, model, payload, content_type)

        found = asyncio.run(ask())
        return Answer(np.asarray(found["outputs"]), list(found["classes"]))

    return door


def over_http(service: LiveService, _: Models, model: str) -> Answer:
    """TensorFlow Serving's JSON."""
    body = json.dumps({"instances": PIXELS.tolist()}).encode()
    status, answer, _headers = service.send(f"/v1/models/{model}:predict", body)
    assert status == 200, answer
    found = json.loads(answer)
    return Answer(np.array(found["predictions"]), found["classes"])


def over_open_inference(*, binary: bool) -> Callable[[LiveService, Models, str], Answer]:
    """Return the door of the Open Inference Protocol over HTTP, in JSON or with binary tensors."""

    def door(service: LiveService, _: Models, model: str) -> Answer:
        with triton_http.InferenceServerClient(service.http) as client:
            tensor = triton_http.InferInput("x", list(PIXELS.shape), "FP32")
            tensor.set_data_from_numpy(PIXELS, binary_data=binary)
            wanted = triton_http.InferRequestedOutput("outputs", binary_data=binary)
            return Answer(client.infer(model, [tensor], outputs=[wanted]).as_numpy("outputs"))

    return door


def over_grpc(service: LiveService, _: Models, model: str) -> Answer:
    """The Open Inference Protocol over gRPC."""
    with triton_grpc.InferenceServerClient(service.grpc) as client:
        tensor = triton_grpc.InferInput("x", list(PIXELS.shape), "FP32")
        tensor.set_data_from_numpy(PIXELS)
        return Answer(client.infer(model, [tensor]).as_numpy("outputs"))


def over_stream(service: LiveService, _: Models, model: str) -> Answer:
    """ASSIST-IoT's stream, a message for each row."""

    async def ask() -> Array:
        async def messages() -> AsyncIterator[BasicInferenceRequest]:
            for number, row in enumerate(PIXELS):
                yield BasicInferenceRequest(id=number, tensor=write_tensor32(row))

        async with grpc.aio.insecure_channel(service.grpc) as channel:
            call = channel.stream_stream(
                "/basic_inference.BasicInferenceService/predict",
                request_serializer=BasicInferenceRequest.SerializeToString,
                response_deserializer=BasicInferenceResponse.FromString,
            )(messages(), metadata=(("model", model),))
            found = [read_tensor32(answer.tensor, 1000) async for answer in call]
        return np.concatenate(found)

    return Answer(asyncio.run(ask()))


DOORS: Final[Mapping[str, Callable[[LiveService, Models, str], Answer]]] = {
    "topic, JSON": over_topic(JSON),
    "topic, msgpack": over_topic(MSGPACK),
    "HTTP": over_http,
    "Open Inference, JSON": over_open_inference(binary=False),
    "Open Inference, binary": over_open_inference(binary=True),
    "gRPC": over_grpc,
    "stream": over_stream,
}
DIGITS: Final = "digits"
"""The demo's network, which each framework runs."""
FILES: Final = ("int8.tflite", "three_rows.onnx")
"""Models of one file; `test_a_local_file_gives_them_as_well` has the others."""
RUNTIMES: Final = ("auto", "torch", "keras")
"""The first runs the network in TFLite, and the files; the others run the network alone."""


# ── what is served ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    """Run a broker and a repository, and push each model with its transforms and labels."""
    folder = tmp_path_factory.mktemp("models")
    weights = folder / "weights.npz"
    layout = json.loads((DEMO / "model.json").read_bytes())["layout"]
    draw = np.random.default_rng(5)
    drawn = {each["name"]: draw.normal(0, 0.3, each["shape"]).astype("f4") for each in layout}
    np.savez(weights, **drawn)
    with LocalBroker(folder / "broker") as local:
        broker = local.address()
        environ = {k: v for k, v in os.environ.items() if not k.startswith("FEDBUS_")}
        environ |= {"FEDBUS_BROKER": broker.url, "FEDBUS_DATA": str(folder / "data")}
        repository = subprocess.Popen([sys.executable, "-m", "fedbus_repository"], env=environ)
        try:
            asyncio.run(push_all(broker, weights))
            yield Models(broker, expected(drawn))
        finally:
            repository.terminate()
            repository.wait(LONG)


async def push_all(broker: BrokerAddress, weights: Path) -> None:
    """Store the demo's network, and each file."""
    inputs = InputTerms(preprocessing=STEPS, range=(0, 16))
    # Packed without the trial that imports each framework here; the services have their own.
    made = read_model(DEMO / "model.json", weights, OutputOptions(classes=LABELS))
    made = made.with_spec(complete_input(made.spec(), inputs))
    async with fedbus.connect(broker.url) as fed, asyncio.timeout(LONG):
        await fed.push(made)
        for name in FILES:
            await fed.push(FOLDER / name, name=model_name(name), classes=LABELS, inputs=inputs)


def model_name(file: str) -> str:
    """Name the model of a file."""
    return file.replace(".", "_")


@dataclass(frozen=True)
class Served:
    """A service, and the right outputs of the models that it runs."""

    service: LiveService
    expected: Mapping[str, Array]


@pytest.fixture(scope="module", params=RUNTIMES)
def served(
    request: pytest.FixtureRequest, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Run a service with one setting of the runtime."""
    runtime = str(request.param)
    run = models.expected if runtime == "auto" else {DIGITS: models.expected[DIGITS]}
    folder = tmp_path_factory.mktemp(runtime)
    with live_service(folder, models.broker, runtime=runtime) as running:
        for model in run:
            running.until_ready(model)
        yield Served(running, run)


@pytest.mark.parametrize("door", DOORS)
def test_each_door_gives_the_framework_s_own_numbers(
    door: str, served: Served, models: Models
) -> None:
    """And the labels that follow from them: raw pixels in, through the model's own transforms."""
    for model, wanted in served.expected.items():
        found = DOORS[door](served.service, models, model)
        np.testing.assert_allclose(found.outputs, wanted, atol=2e-6, err_msg=model)
        if found.classes is not None:
            assert found.classes == [LABELS[index] for index in wanted.argmax(axis=1)]


@pytest.mark.parametrize(
    "name",
    [
        *("plain.tflite", "int8.tflite", "uint8.tflite", "three_rows.tflite"),
        *("plain.onnx", "int8.onnx", "three_rows.onnx"),
    ],
)
def test_a_local_file_gives_them_as_well(name: str) -> None:
    """As `fedbus infer --local` answers, without transforms: rows of 0 to 1."""
    rows = PIXELS / np.float32(16)
    found = LocalModel(FOLDER / name).answer(rows.tolist())
    wanted = CALLS[name.rpartition(".")[2]](model_file(name), rows)
    np.testing.assert_allclose(np.array(found["outputs"]), wanted, atol=2e-6)
    assert found["classes"] == wanted.argmax(axis=1).tolist()
