"""Refusals of the core as statuses of HTTP and of gRPC."""

import asyncio
from contextlib import suppress
from typing import Any

import grpc
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fedbus.errors import WireError
from fedbus.http_api.routes import routes_of
from fedbus_inference.grpc_api.call_access import address_of
from fedbus_inference.grpc_api.call_status import CODES, CallError, check_answered, seconds_left
from fedbus_inference.grpc_api.open_inference_calls import OpenInferenceCalls
from fedbus_inference.grpc_api.protocol.open_inference_pb2 import ModelInferRequest
from fedbus_inference.http.inference_api import LoopbackAccess
from fedbus_inference.http.inference_endpoints import description
from fedbus_inference.http.inference_handlers import STATUSES, InferenceHandlers
from fedbus_inference.local_requests import LONGEST_TIMEOUT, PredictionOutcome, RefusalKind
from tests.inference.fixed_gateway import FixedGateway

BODY = {"instances": [[1, 2]]}
INFER = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}


Asking = TestClient[web.Request, web.Application]


def client(outcome: PredictionOutcome) -> tuple[Asking, FixedGateway]:
    """Serve the HTTP API of a gateway."""
    gateway = FixedGateway(outcome)
    app = web.Application()
    app.add_routes(routes_of(description(), InferenceHandlers(gateway, 1), LoopbackAccess()))
    return TestClient(TestServer(app)), gateway


@pytest.mark.parametrize("kind", RefusalKind)
async def test_each_refusal_has_a_status(kind: RefusalKind) -> None:
    """And where asking again helps, the seconds to wait."""
    outcome = PredictionOutcome("digits", error="why", refusal=kind, retry_after=2.2)
    asking, _ = client(outcome)
    async with asking:
        for path, body in (
            ("/v1/models/digits:predict", BODY),
            ("/v2/models/digits/infer", INFER),
        ):
            answer = await asking.post(path, json=body)
            assert answer.status == STATUSES[kind]
            assert (await answer.json())["error"] == "why"
            again = kind in {RefusalKind.OVERLOADED, RefusalKind.LOADING, RefusalKind.STOPPING}
            assert answer.headers.get("Retry-After") == ("3" if again else None)
    with pytest.raises(CallError, match="why") as refused:
        check_answered(outcome)
    assert refused.value.code is CODES[kind]
    assert CODES[kind] is not grpc.StatusCode.OK


async def test_choices_and_deadlines_reach_the_core() -> None:
    """From the path, from the name, from a header, and from Triton's parameter."""
    asking, gateway = client(PredictionOutcome("digits", 3, {"outputs": np.zeros((1, 1))}))
    async with asking:
        for path in ("versions/3", "labels/live"):
            answer = await asking.post(f"/v1/models/digits/{path}:predict", json=BODY)
            assert answer.status == 200
        await asking.post(
            "/v1/models/digits@live:predict", json=BODY, headers={"Request-Timeout": "1.5"}
        )
        await asking.post(
            "/v2/models/digits/versions/live/infer",
            json=INFER | {"parameters": {"timeout": 2_000_000}},
        )
        for header in ("1.5", "2.5"):
            await asking.post(
                "/v2/models/digits/infer",
                json=INFER | {"parameters": {"timeout": 2_000_000}},
                headers={"Request-Timeout": header},
            )
    assert gateway.asked == [
        ("digits", "3", None),
        ("digits", "live", None),
        ("digits@live", "live", 1.5),
        ("digits", "live", 2.0),
        ("digits", "", 1.5),
        ("digits", "", 2.0),
    ]


@pytest.mark.parametrize(
    ("parameter", "deadline", "seconds"),
    [
        (None, None, None),
        (None, 5.0, 5.0),
        (2_000_000, None, 2.0),
        (2_000_000, 5.0, 2.0),
        (2_000_000, 1.0, 1.0),
        (2_000_000, -1.0, 0.0),
        (0, 5.0, 5.0),
        (2**63 - 1, None, LONGEST_TIMEOUT),
    ],
)
async def test_over_grpc_the_shorter_of_two_limits_counts(
    parameter: int | None, deadline: float | None, seconds: float | None
) -> None:
    """Triton's parameter, in microseconds, and the deadline of the call."""
    gateway = FixedGateway(PredictionOutcome("digits", 3, {"outputs": np.zeros((1, 1))}))
    await OpenInferenceCalls(gateway).infer(infer_message(int64_param=parameter), Call(deadline))
    assert gateway.asked == [("digits", "", seconds)]


@pytest.mark.parametrize(
    "stated", [{"int64_param": -1}, {"bool_param": True}, {"string_param": "2000"}]
)
async def test_a_timeout_over_grpc_that_is_no_number_of_microseconds_is_refused(
    stated: dict[str, Any],
) -> None:
    """Before anything is asked."""
    gateway = FixedGateway(PredictionOutcome("digits", 3, {"outputs": np.zeros((1, 1))}))
    with pytest.raises(WireError, match=r"parameters\.timeout: expected microseconds"):
        await OpenInferenceCalls(gateway).infer(infer_message(**stated), Call(None))
    assert gateway.asked == []


def infer_message(**timeout: Any) -> ModelInferRequest:  # noqa: ANN401 - one of five kinds
    """Return a request with a parameter `timeout`; of value None: without it."""
    message = ModelInferRequest(
        model_name="digits",
        inputs=[{"name": "x", "datatype": "FP32", "shape": [1, 2]}],
        raw_input_contents=[bytes(8)],
    )
    for kind, value in timeout.items():
        if value is not None:
            setattr(message.parameters["timeout"], kind, value)
    return message


class Call:
    """What grpc says of the deadline of a call: the seconds until then."""

    def __init__(self, left: float | None) -> None:
        self.left = left

    def time_remaining(self) -> float | None:
        return self.left


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [(0, None), (10**31, LONGEST_TIMEOUT), (-1, ""), (1.5, ""), (True, ""), ("x", "")],
)
async def test_no_client_waits_longer_than_any_may(stated: object, seconds: object) -> None:
    """Whatever Triton's parameter says; what is no number of microseconds is refused."""
    asking, gateway = client(PredictionOutcome("digits", 3, {"outputs": np.zeros((1, 1))}))
    async with asking:
        body = INFER | {"parameters": {"timeout": stated}}
        answer = await asking.post("/v2/models/digits/infer", json=body)
    if seconds == "":
        assert answer.status == 400
        assert gateway.asked == []
    else:
        assert gateway.asked == [("digits", "", seconds)]


def test_a_grpc_deadline_in_the_past_or_far_away_is_bounded() -> None:
    """The core refuses the one at once, and waits for the other as long as for any client."""
    found = [seconds_left(Call(left)) for left in (None, -5.0, 2.0, 1e12)]
    assert found == [None, 0.0, 2.0, LONGEST_TIMEOUT]


async def test_a_model_that_is_being_fetched_is_not_ready() -> None:
    """It is known, so it is not 404 but 503, or 400 where the protocol says so."""
    asking, _ = client(PredictionOutcome("digits"))
    async with asking:
        for path, status in (
            ("/v2/health/live", 200),
            ("/v2/health/ready", 400),
            ("/v2/models/digits/ready", 400),
            ("/v2/models/digits", 503),
            ("/v2/models/digits/versions/3", 404),
            ("/v1/models/digits", 200),
            ("/v2/models/nothing/ready", 404),
            ("/v2", 200),
        ):
            answer = await asking.get(path)
            assert answer.status == status, path


async def test_bodies_that_are_received_at_once_are_bounded_together() -> None:
    """Clients that send slowly fill no memory: one too many is told when to come again."""
    asking, _ = client(PredictionOutcome("digits", 3, {"outputs": np.zeros((1, 1))}))
    path, part = "/v1/models/digits:predict", b'{"instances": [[' + b"1, " * 300_000
    async with asking, asyncio.timeout(60):
        head = f"POST {path} HTTP/1.1\r\nHost: {asking.host}\r\nContent-Length: 1000000\r\n\r\n"

        async def send(*parts: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection(asking.host, asking.port)
            writer.write(b"".join((head.encode(), *parts)))
            return reader, writer

        slow = [await send(part) for _ in range(4)]
        refused = b""
        while b"429" not in refused:  # once the service has received the others
            reader, writer = await send(part, bytes(1_000_000 - len(part)))
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                refused = await reader.readuntil(b"}")
            writer.close()
        assert b"Retry-After: 1" in refused
        assert b"requests that are being received have" in refused
        for _, writer in slow:
            writer.close()
        while (await asking.post(path, json=BODY)).status != 200:
            pass  # until the service has noticed that they are closed
        whole = await asking.post(path, data=part + b"1]]}")
        assert whole.status == 400  # it is received, and has too many numbers
        assert "at most 100 numbers, got 300001" in (await whole.json())["error"]


def test_the_address_of_a_peer_counts_without_its_port() -> None:
    """As grpc names it."""
    assert address_of("ipv4:127.0.0.1:5000") == "127.0.0.1"
    assert address_of("ipv6:%5B::1%5D:5000") == address_of("ipv6:[::1]:5000") == "::1"
