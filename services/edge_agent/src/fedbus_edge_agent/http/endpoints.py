"""Table of the agent's HTTP endpoints, the source of routes, `/openapi.json` and `/docs`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fedbus_edge_agent.standalone.schemas import (
    Capabilities,
    JobReport,
    ModelMetadata,
    ModelReport,
    Problem,
)

REFERENCE = "#/components/schemas/{model}"
JOB_FILE = "JobFile"
KINDS = (JobReport, ModelMetadata, ModelReport, Capabilities, Problem)
_UPLOAD = {
    "type": "object",
    "properties": {
        "weights": {"type": "string", "format": "binary", "description": "an .npz file"},
        "architecture": {"type": "string", "format": "binary", "description": "a file of the spec"},
    },
}
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
_ANYTHING = {"type": "object"}
_FILE = {"type": "string", "format": "binary"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    Attributes:
        handler: Name of the method of `Handlers`.
        response: Status, content type and schema of a successful response.
        errors: Descriptions of the other responses, by status.
        body: Content type and schema of the request body.
        public: Whether no token is needed.
    """

    method: str
    path: str
    handler: str
    summary: str
    response: tuple[int, str, Mapping[str, Any]]
    errors: Mapping[int, str] = field(default_factory=dict)
    body: tuple[str, Mapping[str, Any]] | None = None
    public: bool = False


def schema_of(kind: type[Any] | str) -> dict[str, Any]:
    """Return a reference to a schema, given its class or name."""
    return {"$ref": REFERENCE.format(model=kind if isinstance(kind, str) else kind.__name__)}


def _json(schema: Mapping[str, Any], status: int = 200) -> tuple[int, str, Mapping[str, Any]]:
    return status, "application/json", schema


_REPORT = _json(schema_of(JobReport))
_get = partial(Endpoint, "GET")
_NO_JOB = {404: "no such job"}
_NOT_STOPPED = {**_NO_JOB, 409: "a controller runs it"}

ENDPOINTS: Sequence[Endpoint] = (
    Endpoint(
        "POST",
        "/job/config/{training_id}/",
        "start_job",
        "Train an uploaded model on this agent's own data, without a controller.",
        _REPORT,
        body=("application/json", schema_of(JOB_FILE)),
        errors={
            400: "the job file is not valid; every fault is listed",
            404: "the model was not uploaded",
            409: "there is another job of this id, or a file of the model is missing",
            413: "too large",
            422: "this agent cannot do the job: memory, storage, trainer, data format",
            503: "too many jobs wait, or the agent accepts none at the moment",
        },
    ),
    _get(
        "/job/status",
        "count_jobs",
        "Number of waiting and running trainings of each job, standalone or a controller's.",
        _json(_COUNTS),
    ),
    _get("/job/status/{training_id}", "show_job", "State of a standalone job.", _REPORT, _NO_JOB),
    _get(
        "/job/total",
        "total_jobs",
        "Number of all waiting and running trainings.",
        _json({"type": "integer"}),
    ),
    Endpoint(
        "POST",
        "/job/stop/{training_id}",
        "stop_job",
        "Stop a standalone job at its next batch. The results of finished rounds are kept.",
        _REPORT,
        _NOT_STOPPED,
    ),
    Endpoint(
        "DELETE",
        "/job/{training_id}",
        "stop_job",
        "Stop a standalone job, as `POST /job/stop/{training_id}` does.",
        _REPORT,
        _NOT_STOPPED,
    ),
    _get(
        "/job/result/{training_id}",
        "show_job",
        "Result of a standalone job: metrics of each round, and the path of its weights.",
        _REPORT,
        _NO_JOB,
    ),
    _get(
        "/job/result/{training_id}/weights",
        "job_weights",
        "Weights of the last round, as an .npz file of named arrays.",
        (200, "application/octet-stream", _FILE),
        {404: "no such job", 409: "no round is done yet"},
    ),
    Endpoint(
        "POST",
        "/model/",
        "add_model",
        "Upload a model's metadata: its spec, as `fedbus models push` reads it.",
        _json(schema_of(ModelReport), 201),
        body=("application/json", schema_of(ModelMetadata)),
        errors={400: "not a spec", 409: "this version was uploaded with another spec"},
    ),
    _get(
        "/model/",
        "list_models",
        "Uploaded models, and the files that each lacks.",
        _json({"type": "array", "items": schema_of(ModelReport)}),
    ),
    Endpoint(
        "PUT",
        "/model/{name}/{version}",
        "upload_model",
        "Upload a model's weights (.npz) and the files that its spec names, as a form.",
        (204, "", {}),
        body=("multipart/form-data", _UPLOAD),
        errors={
            400: "a file that the spec does not name, or weights of another layout",
            404: "its metadata was not uploaded",
            411: "no Content-Length",
            413: "larger than weights and files of the spec together",
            507: "too little free disk space, or memory to train it",
        },
    ),
    _get(
        "/capabilities",
        "capabilities",
        "Capabilities of this machine.",
        _json(schema_of(Capabilities)),
    ),
    Endpoint("GET", "/format", "data_format", "Format of this agent's data.", _json(_ANYTHING)),
    _get(
        "/openapi.json",
        "openapi",
        "This description, as OpenAPI 3.1.",
        _json(_ANYTHING),
        public=True,
    ),
    Endpoint(
        "GET", "/docs", "docs", "This description, as a page.", (200, "text/html", {}), public=True
    ),
)
