"""Handlers of the inference service's HTTP API: Open Inference Protocol, TensorFlow Serving's."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from aiohttp import web

from fedbus.distributions import version_of
from fedbus.http_api.responses import ApiError
from fedbus_inference.http.predict_bodies import (
    HeldBodies,
    json_length,
    parse_body,
    predict_body,
    request_timeout,
)
from fedbus_inference.local_requests import PredictionOutcome, RefusalKind, shortest_timeout
from fedbus_inference.open_inference.infer_answers import write_infer_answer
from fedbus_inference.open_inference.infer_requests import read_infer_request
from fedbus_inference.open_inference.model_metadata import (
    EXTENSIONS,
    SERVER_NAME,
    all_ready,
    chosen_version,
    model_metadata,
)
from fedbus_inference.predict_json import read_predict_request, write_predict_answer
from fedbus_inference.prediction_gateway import PredictionGateway
from fedbus_inference.serving_status import ModelStatus, VersionStatus

STATUSES: Final[Mapping[RefusalKind, int]] = {
    RefusalKind.INVALID: 400,
    RefusalKind.NOT_FOUND: 404,
    RefusalKind.OVERLOADED: 429,
    RefusalKind.FAILED: 500,
    RefusalKind.LOADING: 503,
    RefusalKind.STOPPING: 503,
    RefusalKind.DEADLINE: 504,
}
RETRIED: Final = frozenset({RefusalKind.OVERLOADED, RefusalKind.LOADING, RefusalKind.STOPPING})
_MIB: Final = 2**20
_HELD_REQUESTS: Final = 4
"""Bodies that are received at once may have as many bytes as this number of the largest."""


class InferenceHandlers:
    """The handlers that `inference_endpoints.ENDPOINTS` names."""

    def __init__(self, gateway: PredictionGateway, max_request_mb: int) -> None:
        self._gateway = gateway
        self._max_bytes = max_request_mb * _MIB
        self._held = HeldBodies(_HELD_REQUESTS * self._max_bytes)

    async def server_metadata(self, _: web.Request) -> web.Response:
        """Return name, version and extensions of the server."""
        facts = {"name": SERVER_NAME, "version": version_of("fedbus"), "extensions": EXTENSIONS}
        return web.json_response(facts)

    async def server_live(self, _: web.Request) -> web.Response:
        """Return that the process answers."""
        return web.json_response({"live": True})

    async def server_ready(self, _: web.Request) -> web.Response:
        """Return whether each model has a version that answers."""
        ready = all_ready(self._gateway.statuses())
        return web.json_response({"ready": ready}, status=200 if ready else 400)

    async def model_metadata(self, request: web.Request) -> web.Response:
        """Return versions, inputs and outputs of a model."""
        status = self._status(request)
        served = chosen_version(status, _choice(request))
        if served is None:
            raise _not_ready(status, _choice(request))
        return web.json_response(asdict(model_metadata(status, served)))

    async def model_ready(self, request: web.Request) -> web.Response:
        """Return whether a model, or one version of it, answers."""
        status = self._status(request)
        ready = chosen_version(status, _choice(request)) is not None
        facts = {"name": status.model, "ready": ready}
        return web.json_response(facts, status=200 if ready else 400)

    async def infer(self, request: web.Request) -> web.Response:
        """Answer a request of the Open Inference Protocol."""
        read = partial(
            read_infer_request,
            json_bytes=json_length(request),
            max_elements=self._gateway.max_elements,
        )
        async with predict_body(request, self._max_bytes, self._held) as body:
            wanted = await parse_body(body, read)
        outcome = await self._gateway.predict(
            request.match_info["model"],
            _choice(request),
            wanted.inputs,
            tuple(wanted.outputs),
            shortest_timeout(wanted.timeout, request_timeout(request)),
        )
        number = _answered(outcome)
        said = {"warnings": "; ".join(outcome.warnings)} if outcome.warnings else None
        write = partial(write_infer_answer, wanted, outcome.model, number, outcome.outputs, said)
        large = sum(array.size for array in outcome.outputs.values()) > _IN_LOOP_NUMBERS
        answer, head = await asyncio.to_thread(write) if large else write()
        if head is None:
            return web.Response(body=answer, content_type="application/json")
        headers = {"Inference-Header-Content-Length": str(head)}
        return web.Response(body=answer, content_type="application/octet-stream", headers=headers)

    async def model_status(self, request: web.Request) -> web.Response:
        """Return the state of a model's versions, as TensorFlow Serving does."""
        status = self._status(request)
        states = [_version_state(each) for each in status.versions]
        facts = {"name": status.model, "ready": status.ready, "model_version_status": states}
        return web.json_response(facts)

    async def predict(self, request: web.Request) -> web.Response:
        """Answer a request in TensorFlow Serving's JSON."""
        read = partial(read_predict_request, max_elements=self._gateway.max_elements)
        async with predict_body(request, self._max_bytes, self._held) as body:
            wanted = await parse_body(body, read)
        outcome = await self._gateway.predict(
            request.match_info["model"],
            _choice(request),
            wanted.inputs,
            timeout=request_timeout(request),
        )
        _answered(outcome)
        write = partial(write_predict_answer, outcome, as_rows=wanted.as_rows)
        large = sum(array.size for array in outcome.outputs.values()) > _IN_LOOP_NUMBERS
        answer = await asyncio.to_thread(write) if large else write()
        return web.Response(body=answer, content_type="application/json")

    def _status(self, request: web.Request) -> ModelStatus:
        model = request.match_info["model"]
        status = self._gateway.status(model)
        if status is None:
            known = ", ".join(each.model for each in self._gateway.statuses()[:12]) or "none yet"
            raise ApiError(404, f"no model {model[:64]!r} here; known: {known}")
        return status


_IN_LOOP_NUMBERS: Final = 4096
"""An answer of this many numbers is written in less time than a thread is started in."""


def _choice(request: web.Request) -> str:
    found = request.match_info
    _, _, named = found["model"].partition("@")
    return found.get("version") or found.get("alias") or named


def _answered(outcome: PredictionOutcome) -> int:
    """Return the version that answered; raise ApiError if there is no answer."""
    if outcome.refusal is not None or outcome.version is None:
        kind = outcome.refusal or RefusalKind.FAILED
        headers = {}
        if kind in RETRIED:
            headers["Retry_After"] = str(max(1, math.ceil(outcome.retry_after)))
        raise ApiError(STATUSES[kind], outcome.error, **headers)
    return outcome.version


def _not_ready(status: ModelStatus, choice: str) -> ApiError:
    if not choice:
        return ApiError(503, status.reason or "no version is loaded yet", Retry_After="1")
    loaded = ", ".join(str(each.version) for each in status.versions if each.ready) or "none"
    return ApiError(404, f"version {choice[:64]!r} is not loaded; loaded: {loaded}")


def _version_state(found: VersionStatus) -> dict[str, Any]:
    code, state = ("OK", "AVAILABLE") if found.ready else ("UNAVAILABLE", "LOADING")
    fault = {"error_code": code, "error_message": found.reason}
    return {"version": str(found.version), "state": state, "status": fault}
