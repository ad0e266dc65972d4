"""Table of the agent's HTTP endpoints, the source of routes, `/openapi.json` and `/docs`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        body: Content type and schema of the request body.
        response: Status, content type and schema of a successful response.
        errors: Descriptions of the other responses, by status.
        public: Whether no token is needed.
    """

    method: str
    path: str
    handler: str
    summary: str
    body: tuple[str, Mapping[str, Any]] | None = None
    response: tuple[int, str, Mapping[str, Any]] | None = None
    errors: Mapping[int, str] | None = None
    public: bool = False


def schema_of(kind: type[Any] | str) -> dict[str, Any]:
    """Return a reference to a schema, given its class or name."""
    return {"$ref": REFERENCE.format(model=kind if isinstance(kind, str) else kind.__name__)}


def _json(kind: type[Any] | str) -> tuple[str, dict[str, Any]]:
    return "application/json", schema_of(kind)


def _json_response(
    schema: Mapping[str, Any], status: int = 200
) -> tuple[int, str, Mapping[str, Any]]:
    return status, "application/json", schema


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint(
        "POST",
        "/job/config/{training_id}/",
        "start_job",
        "Train an uploaded model on this agent's own data, without a controller.",
        body=_json(JOB_FILE),
        response=_json_response(schema_of(JobReport)),
        errors={
            400: "the job file is not valid; every fault is listed",
            404: "the model was not uploaded",
            409: "there is another job of this id, or a file of the model is missing",
            413: "too large",
            422: "this agent cannot do the job: memory, storage, trainer, data format",
            503: "too many jobs wait, or the agent accepts none at the moment",
        },
    ),
    Endpoint(
        "GET",
        "/job/status",
        "count_jobs",
        "Number of waiting and running trainings of each job, standalone or a controller's.",
        response=_json_response(_COUNTS),
    ),
    Endpoint(
        "GET",
        "/job/status/{training_id}",
        "show_job",
        "State of a standalone job.",
        response=_json_response(schema_of(JobReport)),
        errors={404: "no such job"},
    ),
    Endpoint(
        "GET",
        "/job/total",
        "total_jobs",
        "Number of all waiting and running trainings.",
        response=_json_response({"type": "integer"}),
    ),
    Endpoint(
        "POST",
        "/job/stop/{training_id}",
        "stop_job",
        "Stop a standalone job at its next batch. The results of finished rounds are kept.",
        response=_json_response(schema_of(JobReport)),
        errors={404: "no such job", 409: "a controller runs it"},
    ),
    Endpoint(
        "DELETE",
        "/job/{training_id}",
        "stop_job",
        "Stop a standalone job, as `POST /job/stop/{training_id}` does.",
        response=_json_response(schema_of(JobReport)),
        errors={404: "no such job", 409: "a controller runs it"},
    ),
    Endpoint(
        "GET",
        "/job/result/{training_id}",
        "show_job",
        "Result of a standalone job: metrics of each round, and the path of its weights.",
        response=_json_response(schema_of(JobReport)),
        errors={404: "no such job"},
    ),
    Endpoint(
        "GET",
        "/job/result/{training_id}/weights",
        "job_weights",
        "Weights of the last round, as an .npz file of named arrays.",
        response=(200, "application/octet-stream", _FILE),
        errors={404: "no such job", 409: "no round is done yet"},
    ),
    Endpoint(
        "POST",
        "/model/",
        "add_model",
        "Upload a model's metadata: its spec, as `fedbus models push` reads it.",
        body=_json(ModelMetadata),
        response=_json_response(schema_of(ModelReport), 201),
        errors={400: "not a spec", 409: "this version was uploaded with another spec"},
    ),
    Endpoint(
        "GET",
        "/model/",
        "list_models",
        "Uploaded models, and the files that each lacks.",
        response=_json_response({"type": "array", "items": schema_of(ModelReport)}),
    ),
    Endpoint(
        "PUT",
        "/model/{name}/{version}",
        "upload_model",
        "Upload a model's weights (.npz) and the files that its spec names, as a form.",
        body=("multipart/form-data", _UPLOAD),
        response=(204, "", {}),
        errors={
            400: "a file that the spec does not name, or weights of another layout",
            404: "its metadata was not uploaded",
            411: "no Content-Length",
            413: "larger than weights and files of the spec together",
            507: "too little free disk space, or memory to train it",
        },
    ),
    Endpoint(
        "GET",
        "/capabilities",
        "capabilities",
        "Capabilities of this machine.",
        response=_json_response(schema_of(Capabilities)),
    ),
    Endpoint(
        "GET",
        "/format",
        "data_format",
        "Format of this agent's data.",
        response=_json_response(_ANYTHING),
    ),
    Endpoint(
        "GET",
        "/openapi.json",
        "openapi",
        "This description, as OpenAPI 3.1.",
        response=_json_response(_ANYTHING),
        public=True,
    ),
    Endpoint(
        "GET",
        "/docs",
        "docs",
        "This description, as a page.",
        response=(200, "text/html", {}),
        public=True,
    ),
)
