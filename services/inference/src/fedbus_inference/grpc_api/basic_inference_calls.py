"""Streaming predict of ASSIST-IoT and aerOS (`basic_inference.BasicInferenceService`).

The protocol has no place for the name of a model, nor for an error. So the model is the one of the
metadata `model`, else of FEDBUS_GRPC_MODEL, else the only one; and the first message that cannot be
answered ends the stream with a status, after the answers to all messages before it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc

from fedbus.errors import WireError
from fedbus.model.layout import Array
from fedbus.text import listed
from fedbus_inference.grpc_api.call_status import CallError, check_answered, seconds_left
from fedbus_inference.grpc_api.open_inference_calls import (
    UNREADABLE,
    ending_with_status,
    parsing,
)
from fedbus_inference.grpc_api.protocol import basic_inference_pb2 as messages
from fedbus_inference.grpc_api.tensor32 import read_tensor32, write_tensor32
from fedbus_inference.prediction_gateway import PredictionGateway

STREAM_SERVICE: Final = "basic_inference.BasicInferenceService"
MAX_STREAM_PREDICTIONS: Final = 64
"""Messages of one stream that are predicted at once; further ones wait at the client."""
MAX_STREAMS: Final = 256
"""Streams at once: they may stay open without end, and other calls need room beside them."""
Answer = messages.BasicInferenceResponse | CallError


class BasicInferenceCalls:
    """The method of the service.

    `default_model` answers streams whose metadata name none; "" means the only model.
    """

    def __init__(self, gateway: PredictionGateway, default_model: str = "") -> None:
        self._gateway = gateway
        self._default_model = default_model
        self._streams = 0

    def handler(self) -> grpc.GenericRpcHandler:
        """Return grpc's table of the methods."""
        method = grpc.stream_stream_rpc_method_handler(
            ending_with_status(self.predict),
            request_deserializer=parsing(messages.BasicInferenceRequest),
            response_serializer=messages.BasicInferenceResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(STREAM_SERVICE, {"predict": method})

    async def predict(
        self,
        requests: AsyncIterator[messages.BasicInferenceRequest],
        context: Any,  # noqa: ANN401 - grpc has no types
    ) -> None:
        """Answer the messages of a stream, in their order."""
        if self._streams >= MAX_STREAMS:
            raise CallError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._streams} streams are open, at most {MAX_STREAMS}; ask again later",
            )
        self._streams += 1
        try:
            await self._answer_all(requests, context)
        finally:
            self._streams -= 1

    async def _answer_all(
        self,
        requests: AsyncIterator[messages.BasicInferenceRequest],
        context: Any,  # noqa: ANN401 - grpc has no types
    ) -> None:
        metadata = dict(context.invocation_metadata() or ())
        model = str(metadata.get("model", "")) or self._default_model or self._only_model()
        output = str(metadata.get("output", ""))
        answers: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue(MAX_STREAM_PREDICTIONS)
        refused: CallError | None = None

        async with asyncio.TaskGroup() as tasks:

            async def read() -> None:
                async for request in requests:
                    call = self._answer(model, output, request, seconds_left(context))
                    await answers.put(tasks.create_task(call, name="stream_prediction"))
                await answers.put(None)

            reading = tasks.create_task(read(), name="stream_reading")
            while (waiting := await answers.get()) is not None:
                answer = await waiting
                if isinstance(answer, CallError):
                    refused = answer
                    break
                await context.write(answer)
            reading.cancel()
            while not answers.empty():
                if (left := answers.get_nowait()) is not None:
                    left.cancel()
        if refused is not None:
            raise refused

    async def _answer(
        self,
        model: str,
        output: str,
        request: messages.BasicInferenceRequest | None,
        timeout: float | None,  # noqa: ASYNC109 - the core ends the request with a sentence
    ) -> Answer:
        if request is None:
            return CallError(grpc.StatusCode.INVALID_ARGUMENT, UNREADABLE)
        try:
            array = read_tensor32(request.tensor, self._gateway.max_elements)
            wanted = (output,) if output else ()
            outcome = await self._gateway.predict(model, "", {"tensor": array}, wanted, timeout)
            check_answered(outcome)
            found = _only_output(outcome.outputs)
        except WireError as error:
            code, sentence = grpc.StatusCode.INVALID_ARGUMENT, str(error)
        except CallError as refused:
            code, sentence = refused.code, str(refused)
        else:
            return messages.BasicInferenceResponse(id=request.id, tensor=write_tensor32(found))
        return CallError(code, f"message {request.id}: {sentence}")

    def _only_model(self) -> str:
        known = [status.model for status in self._gateway.statuses()]
        if len(known) == 1:
            return known[0]
        raise CallError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"{len(known)} models are here ({listed(known) or 'none yet'}); name one in the "
            "metadata `model`, or set FEDBUS_GRPC_MODEL",
        )


def _only_output(outputs: Mapping[str, Array]) -> Array:
    if len(outputs) != 1:
        raise WireError(
            f"the model has {len(outputs)} outputs ({listed(outputs)}); name one in the metadata "
            "`output`"
        )
    return next(iter(outputs.values()))
