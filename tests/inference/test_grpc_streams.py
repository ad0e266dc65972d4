"""Streaming predict of ASSIST-IoT, tokens and TLS of the gRPC interface, with grpc's own client."""

import asyncio
import json
import shlex
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.live_inference import LiveService, live_service
from fedbus.cli.main import app
from fedbus.errors import SettingsError
from fedbus.http_api.failed_logins import MAX_FAILED_LOGINS
from fedbus.mqtt.mosquitto import free_port
from fedbus_inference.grpc_api.basic_inference_calls import MAX_STREAMS
from fedbus_inference.grpc_api.grpc_server import serve_grpc
from fedbus_inference.grpc_api.protocol.basic_inference_pb2 import (
    BasicInferenceRequest,
    BasicInferenceResponse,
    Tensor32,
)
from fedbus_inference.grpc_api.tensor32 import read_tensor32, write_tensor32
from fedbus_inference.local_requests import PredictionOutcome
from fedbus_inference.settings import InferenceSettings
from tests.inference.fixed_gateway import FixedGateway
from tests.inference.model_folder import MAX_REQUEST_MB, ModelFolder

pytestmark = pytest.mark.system

ROWS = (np.random.default_rng(1).integers(0, 17, (5, 64)) / 16).astype(np.float32)
PREDICT = "/basic_inference.BasicInferenceService/predict"
Metadata = tuple[tuple[str, str], ...]


def request(identity: int, rows: Any = ROWS, **changed: Any) -> BasicInferenceRequest:  # noqa: ANN401 - an array
    """Make a message; `changed` replaces fields of its tensor."""
    tensor = write_tensor32(np.asarray(rows))
    for name, value in changed.items():
        del getattr(tensor, name)[:]
        getattr(tensor, name).extend(value)
    return BasicInferenceRequest(id=identity, tensor=tensor)


def opened(channel: grpc.aio.Channel, metadata: Metadata = (), **more: Any) -> Any:  # noqa: ANN401 - grpc has no types
    """Open a stream."""
    call = channel.stream_stream(
        PREDICT,
        request_serializer=BasicInferenceRequest.SerializeToString,
        response_deserializer=BasicInferenceResponse.FromString,
    )
    return call(metadata=metadata, **more)


async def stream(
    address: str, *requests: BasicInferenceRequest, metadata: Metadata = ()
) -> tuple[list[BasicInferenceResponse], tuple[grpc.StatusCode, str]]:
    """Send messages; return the answers, and the status that the stream ended with."""
    async with grpc.aio.insecure_channel(address) as channel:

        async def send() -> AsyncIterator[BasicInferenceRequest]:
            for one in requests:
                yield one

        call = channel.stream_stream(
            PREDICT,
            request_serializer=BasicInferenceRequest.SerializeToString,
            response_deserializer=BasicInferenceResponse.FromString,
        )(send(), metadata=metadata)
        answers = []
        try:
            async for answer in call:
                answers.append(answer)  # noqa: PERF401 - those before an error are kept
        except grpc.aio.AioRpcError as error:
            return answers, (error.code(), error.details() or "")
        return answers, (grpc.StatusCode.OK, "")


async def test_each_message_has_its_answer_in_order(service: LiveService) -> None:
    """One row, a batch, and the same rows as one example without a shape."""
    sent = [request(1), request(2, ROWS[:1]), request(3, ROWS[0]), request(4, ROWS[0], shape=[])]
    answers, status = await stream(service.grpc, *sent * 30)
    assert status == (grpc.StatusCode.OK, "")
    assert [answer.id for answer in answers] == [1, 2, 3, 4] * 30
    batch, one, example, flat = (read_tensor32(each.tensor, 1000) for each in answers[:4])
    assert batch.shape == (5, 10)
    for alone in (one, example, flat):
        np.testing.assert_allclose(alone, batch[:1], rtol=1e-5)


async def test_a_conversation_goes_back_and_forth(service: LiveService) -> None:
    """An answer comes before the next message is sent."""
    async with grpc.aio.insecure_channel(service.grpc) as channel:
        call = opened(channel)
        for identity in range(5):
            await call.write(request(identity))
            answer = await asyncio.wait_for(call.read(), 10)
            assert answer.id == identity
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("wrong", "code", "sentence"),
    [
        (request(7, ROWS[:, :9]), "INVALID_ARGUMENT", "message 7: inputs"),
        (request(7, shape=[5, 63]), "INVALID_ARGUMENT", "message 7: tensor.array: expected 315"),
        (request(7, shape=[-1, 64]), "INVALID_ARGUMENT", "whole numbers above 0"),
        (request(7, shape=[2**30, 2**30]), "INVALID_ARGUMENT", "at most 4000000 elements"),
        (request(7, ROWS * np.nan), "INVALID_ARGUMENT", "not a finite number"),
        (BasicInferenceRequest(id=7), "INVALID_ARGUMENT", "message 7: tensor.shape"),
    ],
)
async def test_a_wrong_message_ends_the_stream_after_the_answers_before_it(
    service: LiveService, wrong: BasicInferenceRequest, code: str, sentence: str
) -> None:
    """The protocol has no place for an error beside the stream's status."""
    for _ in range(5):
        answers, (found, details) = await stream(service.grpc, request(5), wrong, request(9))
        if found is not grpc.StatusCode.INTERNAL:
            break  # grpc's client states INTERNAL where the stream ends while it still writes
    assert [answer.id for answer in answers] == [5]
    assert (found.name, sentence in details) == (code, True), details


async def test_the_model_is_named_in_the_metadata(service: LiveService) -> None:
    """With its version, and one of its outputs, where it has several."""
    answers, _ = await stream(service.grpc, request(1), metadata=(("model", "digits@1"),))
    assert [answer.id for answer in answers] == [1]
    named = (("model", "digits"), ("output", "outputs"))
    answers, _ = await stream(service.grpc, request(1), metadata=named)
    assert [answer.id for answer in answers] == [1]
    _, (code, details) = await stream(service.grpc, request(1), metadata=(("model", "nothing"),))
    assert (code, "known: " in details) == (grpc.StatusCode.NOT_FOUND, True)
    _, (code, _) = await stream(service.grpc, request(1), metadata=(("output", "nowhere"),))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_client_that_goes_away_leaves_the_service_working(service: LiveService) -> None:
    """In the middle of a stream, or before its answer."""
    for _ in range(5):
        async with grpc.aio.insecure_channel(service.grpc) as channel:
            call = opened(channel)
            await call.write(request(1))
            await call.write(request(2))
            call.cancel()
    answers, status = await stream(service.grpc, request(3))
    assert (len(answers), status[0]) == (1, grpc.StatusCode.OK)
    assert b"Traceback" not in service.log.read_bytes()


async def test_a_message_above_the_limit_ends_its_call_alone(service: LiveService) -> None:
    """The next call is answered."""
    numbers = np.zeros(MAX_REQUEST_MB * 2**18)  # of 4 bytes, and the message has more
    huge = BasicInferenceRequest(id=1, tensor=Tensor32(array=numbers))
    _, (code, _) = await stream(service.grpc, huge)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    answers, _ = await stream(service.grpc, request(3))
    assert len(answers) == 1


async def test_a_deadline_ends_a_call(service: LiveService) -> None:
    """The caller's own, which the service compares with its queue."""
    async with grpc.aio.insecure_channel(service.grpc) as channel:
        call = opened(channel, timeout=0.2)
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def tokens(*arguments: str) -> str:
    """Call `fedbus tokens`; return what it prints."""
    result = CliRunner().invoke(app, ["tokens", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def tokens_file(folder: Path) -> tuple[Path, dict[str, str]]:
    """Write a tokens file with two tokens, by name; return it and the tokens."""
    file = folder / "tokens"
    made = {}
    for name, scope in (("asks", "inference"), ("reads", "models:read")):
        told = tokens("new", name, scope, "--json", "--file", str(file))
        made[name] = json.loads(told)["token"]
    return file, made


async def test_tokens_are_needed_where_there_is_a_file_of_them(tmp_path: Path) -> None:
    """Over gRPC and HTTP alike; probes need none; the file is read again when it changes."""
    file, made = tokens_file(tmp_path)
    folder = str(ModelFolder(tmp_path / "models").path)
    with live_service(tmp_path, models=folder, http_tokens_file=str(file), http_open="") as guarded:
        guarded.until_log("model_swapped")

        async def asked(token: str | None) -> grpc.StatusCode:
            metadata = () if token is None else (("authorization", f"Bearer {token}"),)
            for _ in range(3):
                _, (code, _) = await stream(guarded.grpc, request(1), metadata=metadata)
                if code is not grpc.StatusCode.INTERNAL:
                    break  # grpc's client says that if a call ends while it is still sending
            return code

        assert await asked(None) is grpc.StatusCode.UNAUTHENTICATED
        assert await asked("x" * 40) is grpc.StatusCode.UNAUTHENTICATED, guarded.log.read_text()
        assert await asked(made["reads"]) is grpc.StatusCode.PERMISSION_DENIED
        assert await asked(made["asks"]) is grpc.StatusCode.OK
        path, bearer = "/v1/models/digits", f"Bearer {made['asks']}"
        assert guarded.get(path)[0] == 401
        assert guarded.get(path, Authorization=f"Bearer {made['reads']}")[0] == 403
        assert guarded.get(path, Authorization=bearer)[0] == 200
        assert guarded.get("/v2/health/ready")[0] == 200
        found = {await asked("x" * 40) for _ in range(MAX_FAILED_LOGINS + 1)}
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in found
        assert await asked(made["asks"]) is grpc.StatusCode.OK  # at the same address
        assert "grpc_login_failed" in guarded.log.read_text()
        tokens("revoke", "asks", "--file", str(file))
        assert await asked(made["asks"]) is grpc.StatusCode.RESOURCE_EXHAUSTED  # it is wrong now
        assert guarded.get(path, Authorization=bearer)[0] == 401
        assert not any(token in guarded.log.read_text() for token in made.values())


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    files = ["subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*shlex.split(made), *files], check=True, capture_output=True)
    return certificate, key


async def test_grpc_is_served_over_tls(tmp_path: Path) -> None:
    """With a certificate and its key; a client without TLS gets nothing."""
    certificate, key = make_certificate(tmp_path)
    settings = InferenceSettings(grpc_cert=certificate, grpc_key=key)
    address = f"127.0.0.1:{free_port()}"
    gateway = FixedGateway(PredictionOutcome("digits", 3, {"outputs": np.zeros((1, 1))}))
    async with serve_grpc(gateway, settings, address):
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
        async with grpc.aio.secure_channel(address, trusted) as channel:
            call = opened(channel)
            await call.write(request(1, ROWS[0]))
            assert (await call.read()).id == 1
        _, (code, _) = await stream(address, request(1, ROWS[0]))
        assert code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("certificate", "key", "sentence"),
    [
        (Path("cert.pem"), None, "FEDBUS_GRPC_CERT and FEDBUS_GRPC_KEY: set both"),
        (Path("/no"), Path("/no"), "/no: No such file or directory"),
    ],
)
async def test_certificates_that_cannot_be_read_are_refused(
    certificate: Path, key: Path | None, sentence: str
) -> None:
    """With a sentence that names the setting or the file."""
    gateway = FixedGateway(PredictionOutcome("digits"))
    settings = InferenceSettings(grpc_cert=certificate, grpc_key=key)
    with pytest.raises(SettingsError, match=sentence):
        async with serve_grpc(gateway, settings, "127.0.0.1:0"):
            pass


def test_an_address_in_use_ends_the_process(service: LiveService, tmp_path: Path) -> None:
    """With exit code 2 and a sentence."""
    (tmp_path / "models").mkdir()
    with live_service(tmp_path, models=str(tmp_path / "models"), grpc=service.grpc) as refused:
        assert refused.process.wait(30) == 2
    assert "cannot listen there; is it in use" in refused.log.read_text()


def test_a_stopping_service_ends_its_calls(tmp_path: Path) -> None:
    """An open stream does not hold it up, and its exit code is 0."""

    async def hold(running: LiveService) -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(running.grpc) as channel:
            call = opened(channel)
            await call.write(request(1))
            await call.read()
            running.process.terminate()
            found: grpc.StatusCode = await asyncio.wait_for(call.code(), 10)
            return found

    with live_service(tmp_path, models=str(ModelFolder(tmp_path / "models").path)) as running:
        running.until_ready()
        assert asyncio.run(hold(running)) in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.CANCELLED,
        }
        assert running.process.wait(10) == 0


async def test_streams_that_stay_open_leave_room_for_other_calls(service: LiveService) -> None:
    """One stream too many is refused with a sentence, and one that ends makes room again."""
    async with grpc.aio.insecure_channel(service.grpc) as channel:
        streams = [opened(channel) for _ in range(MAX_STREAMS)]
        # each is open once it has answered
        for number, call in enumerate(streams):
            await call.write(request(number, ROWS[0]))
            assert (await call.read()).id == number
        with pytest.raises(grpc.aio.AioRpcError, match="256 streams are open, at most 256"):
            await opened(channel).read()
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        assert await live(b"", timeout=10)
        for call in streams:
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
        again = opened(channel)
        await again.write(request(1, ROWS[0]))
        assert (await again.read()).id == 1


async def test_bytes_that_are_no_message_are_refused(service: LiveService) -> None:
    """In a call and in a stream: with a status and a sentence, after the answers before them."""
    async with grpc.aio.insecure_channel(service.grpc) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.aio.AioRpcError, match="in protobuf") as refused:
            await infer(bytes([255]) * 100)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        call = channel.stream_stream(PREDICT)()
        await call.write(request(1).SerializeToString())
        assert BasicInferenceResponse.FromString(await call.read()).id == 1
        await call.write(bytes([255]) * 100)
        with pytest.raises(grpc.aio.AioRpcError, match="in protobuf"):
            await call.read()
