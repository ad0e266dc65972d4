"""Calls of the Open Inference Protocol over gRPC (`inference.GRPCInferenceService`)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from fedbus.distributions import version_of
from fedbus.errors import WireError
from fedbus_inference.grpc_api.call_status import CallError, check_answered, seconds_left
from fedbus_inference.grpc_api.infer_messages import read_infer_message, write_infer_message
from fedbus_inference.grpc_api.protocol import open_inference_pb2 as messages
from fedbus_inference.local_requests import shortest_timeout
from fedbus_inference.open_inference.model_metadata import (
    EXTENSIONS,
    SERVER_NAME,
    all_ready,
    chosen_version,
    model_metadata,
)
from fedbus_inference.prediction_gateway import PredictionGateway

SERVICE: Final = "inference.GRPCInferenceService"
_READ_IN_LOOP_BYTES: Final = 1 << 15
_WRITTEN_IN_LOOP_NUMBERS: Final = 1 << 13
"""Messages up to these sizes take less time than a thread is started in."""
UNREADABLE: Final = "the message: expected one of this method's kind in protobuf"
Call = Callable[[Any, Any], Awaitable[Any]]


class OpenInferenceCalls:
    """The methods of the service; each raises CallError or WireError for a bad request."""

    def __init__(self, gateway: PredictionGateway) -> None:
        self._gateway = gateway

    def handler(self) -> grpc.GenericRpcHandler:
        """Return grpc's table of the methods."""
        methods: dict[str, tuple[Call, Any]] = {
            "ServerLive": (self.server_live, messages.ServerLiveRequest),
            "ServerReady": (self.server_ready, messages.ServerReadyRequest),
            "ModelReady": (self.model_ready, messages.ModelReadyRequest),
            "ServerMetadata": (self.server_metadata, messages.ServerMetadataRequest),
            "ModelMetadata": (self.model_metadata, messages.ModelMetadataRequest),
            "ModelInfer": (self.infer, messages.ModelInferRequest),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    ending_with_status(call),
                    request_deserializer=parsing(kind),
                    response_serializer=lambda answer: answer.SerializeToString(),
                )
                for name, (call, kind) in methods.items()
            },
        )

    async def server_live(self, *_: object) -> messages.ServerLiveResponse:
        """Return that the process answers."""
        return messages.ServerLiveResponse(live=True)

    async def server_ready(self, *_: object) -> messages.ServerReadyResponse:
        """Return whether each model has a version that answers."""
        return messages.ServerReadyResponse(ready=all_ready(self._gateway.statuses()))

    async def server_metadata(self, *_: object) -> messages.ServerMetadataResponse:
        """Return name, version and extensions of the server."""
        return messages.ServerMetadataResponse(
            name=SERVER_NAME, version=version_of("fedbus"), extensions=EXTENSIONS
        )

    async def model_ready(
        self, request: messages.ModelReadyRequest, _: object
    ) -> messages.ModelReadyResponse:
        """Return whether a model, or one version of it, answers."""
        status = self._gateway.status(request.name)
        choice = request.version or request.name.partition("@")[2]
        ready = status is not None and chosen_version(status, choice) is not None
        return messages.ModelReadyResponse(ready=ready)

    async def model_metadata(
        self, request: messages.ModelMetadataRequest, _: object
    ) -> messages.ModelMetadataResponse:
        """Return versions, inputs and outputs of a model."""
        status = self._gateway.status(request.name)
        if status is None:
            raise CallError(grpc.StatusCode.NOT_FOUND, f"no model {request.name[:64]!r} here")
        choice = request.version or request.name.partition("@")[2]
        served = chosen_version(status, choice)
        if served is None:
            code = grpc.StatusCode.NOT_FOUND if choice else grpc.StatusCode.UNAVAILABLE
            sentence = f"version {choice[:64]!r} is not loaded" if choice else status.reason
            raise CallError(code, sentence or "no version is loaded yet")
        return messages.ModelMetadataResponse(**asdict(model_metadata(status, served)))

    async def infer(
        self,
        request: messages.ModelInferRequest,
        context: Any,  # noqa: ANN401 - grpc has no types
    ) -> messages.ModelInferResponse:
        """Predict named tensors."""
        read = partial(read_infer_message, request, self._gateway.max_elements)
        large = request.ByteSize() > _READ_IN_LOOP_BYTES
        wanted = await asyncio.to_thread(read) if large else read()
        outcome = await self._gateway.predict(
            request.model_name,
            request.model_version,
            wanted.inputs,
            tuple(wanted.outputs),
            shortest_timeout(wanted.timeout, seconds_left(context)),
        )
        number = check_answered(outcome)
        said = {"warnings": "; ".join(outcome.warnings)} if outcome.warnings else None
        write = partial(write_infer_message, wanted, outcome.model, number, outcome.outputs, said)
        count = sum(array.size for array in outcome.outputs.values())
        return await asyncio.to_thread(write) if count > _WRITTEN_IN_LOOP_NUMBERS else write()


def parsing(kind: Any) -> Callable[[bytes], Any]:  # noqa: ANN401 - a class of messages
    """Return a reader of messages: None for bytes that are none, which a call refuses."""

    def parse(data: bytes) -> Any:  # noqa: ANN401 - a message
        try:
            return kind.FromString(data)
        except DecodeError:
            return None

    return parse


def ending_with_status(call: Call) -> Call:
    """Return a call that ends with a status code where another one raises."""

    async def called(request: Any, context: Any) -> Any:  # noqa: ANN401 - grpc has no types
        if request is None:
            return await context.abort(grpc.StatusCode.INVALID_ARGUMENT, UNREADABLE)
        try:
            return await call(request, context)
        except CallError as refused:
            code, sentence = refused.code, str(refused)
        except WireError as error:
            code, sentence = grpc.StatusCode.INVALID_ARGUMENT, str(error)
        return await context.abort(code, sentence)

    return called
