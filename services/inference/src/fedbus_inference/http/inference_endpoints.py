"""Table of the inference service's HTTP endpoints. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from fedbus.http_api.endpoints import (
    ANYTHING,
    PAGES,
    ApiDescription,
    Endpoint,
    Schema,
    json_of,
    schema_of,
    schemas_of,
)
from fedbus_inference.open_inference.model_metadata import ServedMetadata

_NAMED_ARRAYS: Final = "NamedArrays"
_PREDICTION: Final = "PredictRequest"
_INFERENCE: Final = "InferRequest"
_TENSOR: Mapping[str, Any] = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "examples": ["FP32", "INT64", "BOOL"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        "data": {"type": "array", "description": "elements in row order, flat or nested"},
        "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}},
    },
}
_SCHEMAS: Final[Mapping[str, Mapping[str, Any]]] = {
    _NAMED_ARRAYS: {
        "description": "nested lists of numbers, or an object of them by the inputs' names",
        "anyOf": [{"type": "array"}, {"type": "object", "additionalProperties": {"type": "array"}}],
    },
    _PREDICTION: {
        "type": "object",
        "description": "instances (rows) or inputs (columns)",
        "properties": {
            "instances": {"type": "array", "description": "one entry for each row"},
            "inputs": schema_of(_NAMED_ARRAYS),
        },
    },
    _INFERENCE: {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": _TENSOR},
            "outputs": {"type": "array", "items": {"type": "object"}},
            "parameters": {"type": "object"},
        },
    },
}
_UNKNOWN: Final = {404: "no such model or version"}
_REFUSED: Final = {
    400: "not a request, or not what the model takes",
    **_UNKNOWN,
    413: "too large",
    415: "another content type, or compressed",
    429: "too many requests wait; the header Retry-After says when to ask again",
    500: "the model failed",
    503: "the model is loading, or the process is stopping",
    504: "no answer in time; the header Request-Timeout sets the seconds",
}


def _versions(endpoint: Endpoint, *, aliases: bool = False) -> Iterator[Endpoint]:
    """Yield an endpoint for a model, its versions and, with `aliases`, its labels."""
    for place in ("", "/versions/{version}", *(["/labels/{alias}"] if aliases else [])):
        path = endpoint.path.replace("{model}", "{model}" + place, 1)
        yield replace(endpoint, path=path, scope="inference")


def _json_body(schema: str) -> tuple[str, Schema]:
    return "application/json", schema_of(schema)


ENDPOINTS: Final[Sequence[Endpoint]] = (
    Endpoint(
        "GET",
        "/v2",
        "server_metadata",
        "Name, version and extensions of this server (Open Inference Protocol).",
        json_of(ANYTHING),
        public=True,
    ),
    Endpoint(
        "GET",
        "/v2/health/live",
        "server_live",
        "Whether the process answers.",
        json_of(ANYTHING),
        public=True,
    ),
    Endpoint(
        "GET",
        "/v2/health/ready",
        "server_ready",
        "Whether each model has a version that answers.",
        json_of(ANYTHING),
        {400: "a model has none"},
        public=True,
    ),
    *_versions(
        Endpoint(
            "GET",
            "/v2/models/{model}",
            "model_metadata",
            "Versions of a model, its inputs and outputs.",
            json_of(schema_of(ServedMetadata)),
            {**_UNKNOWN, 503: "no version is loaded yet"},
        )
    ),
    *_versions(
        Endpoint(
            "GET",
            "/v2/models/{model}/ready",
            "model_ready",
            "Whether a model, or one version of it, answers.",
            json_of(ANYTHING),
            {400: "not yet", **_UNKNOWN},
        )
    ),
    *_versions(
        Endpoint(
            "POST",
            "/v2/models/{model}/infer",
            "infer",
            "Predict named tensors, as JSON or with binary tensors behind it.",
            json_of(ANYTHING),
            _REFUSED,
            _json_body(_INFERENCE),
        )
    ),
    *_versions(
        Endpoint(
            "GET",
            "/v1/models/{model}",
            "model_status",
            "State of a model's versions.",
            json_of(ANYTHING),
            _UNKNOWN,
        ),
        aliases=True,
    ),
    *_versions(
        Endpoint(
            "POST",
            "/v1/models/{model}:predict",
            "predict",
            "Predict rows (`instances`) or columns (`inputs`), in TensorFlow Serving's JSON.",
            json_of(ANYTHING),
            _REFUSED,
            _json_body(_PREDICTION),
        ),
        aliases=True,
    ),
)


def description() -> ApiDescription:
    """Return the description of the API."""
    schemas = schemas_of((ServedMetadata,), _SCHEMAS)
    return ApiDescription("fedbus inference", (*ENDPOINTS, *PAGES), schemas)
