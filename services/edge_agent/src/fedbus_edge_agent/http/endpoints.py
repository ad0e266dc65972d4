"""The agent's own doors, one by one: routes, `/openapi.json` and `/docs` are made of this table."""

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
    """One door: which method of the desk it is, what it takes and what it gives."""

    method: str
    path: str
    does: str
    summary: str
    takes: tuple[str, Mapping[str, Any]] | None = None
    gives: tuple[int, str, Mapping[str, Any]] | None = None
    refuses: Mapping[int, str] | None = None
    public: bool = False


def schema_of(kind: type[Any] | str) -> dict[str, Any]:
    """Point to a schema by its kind, or its name."""
    return {"$ref": REFERENCE.format(model=kind if isinstance(kind, str) else kind.__name__)}


def _json(kind: type[Any] | str) -> tuple[str, dict[str, Any]]:
    return "application/json", schema_of(kind)


def _given(schema: Mapping[str, Any], status: int = 200) -> tuple[int, str, Mapping[str, Any]]:
    return status, "application/json", schema


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint(
        "POST",
        "/job/config/{training_id}/",
        "start_job",
        "Train a model that was brought here, on this agent's own data, without a controller.",
        _json(JOB_FILE),
        _given(schema_of(JobReport)),
        {
            400: "the job file cannot be read; every fault is named",
            404: "the model is not here",
            409: "there is another job of this id, or the model lacks a file",
            413: "too large",
            422: "this agent cannot do it: memory, storage, trainer, data format",
            503: "too many jobs wait, or the agent takes none at the moment",
        },
    ),
    Endpoint(
        "GET",
        "/job/status",
        "count_jobs",
        "How many trainings wait or run here for each job, standalone or a controller's.",
        None,
        _given(_COUNTS),
    ),
    Endpoint(
        "GET",
        "/job/status/{training_id}",
        "show_job",
        "How a standalone job stands.",
        None,
        _given(schema_of(JobReport)),
        {404: "no such job"},
    ),
    Endpoint(
        "GET",
        "/job/total",
        "total_jobs",
        "How many trainings wait or run here, together.",
        None,
        _given({"type": "integer"}),
    ),
    Endpoint(
        "POST",
        "/job/stop/{training_id}",
        "stop_job",
        "Stop a standalone job, within one batch. What its finished rounds gave stays.",
        None,
        _given(schema_of(JobReport)),
        {404: "no such job", 409: "a controller runs it"},
    ),
    Endpoint(
        "DELETE",
        "/job/{training_id}",
        "stop_job",
        "The same.",
        None,
        _given(schema_of(JobReport)),
        {404: "no such job", 409: "a controller runs it"},
    ),
    Endpoint(
        "GET",
        "/job/result/{training_id}",
        "show_job",
        "What a standalone job gave: metrics of each round, and where its weights are.",
        None,
        _given(schema_of(JobReport)),
        {404: "no such job"},
    ),
    Endpoint(
        "GET",
        "/job/result/{training_id}/weights",
        "job_weights",
        "The weights its last round left, as an .npz file of named arrays.",
        None,
        (200, "application/octet-stream", _FILE),
        {404: "no such job", 409: "no round is done yet"},
    ),
    Endpoint(
        "POST",
        "/model/",
        "add_model",
        "Bring a model's metadata: its spec, as `fedbus models push` reads it.",
        _json(ModelMetadata),
        _given(schema_of(ModelReport), 201),
        {400: "not a spec", 409: "this version is here already, with another spec"},
    ),
    Endpoint(
        "GET",
        "/model/",
        "list_models",
        "The models that were brought here, and what each still lacks.",
        None,
        _given({"type": "array", "items": schema_of(ModelReport)}),
    ),
    Endpoint(
        "PUT",
        "/model/{name}/{version}",
        "upload_model",
        "Bring a model's weights (.npz) and the files its spec names, as a form.",
        ("multipart/form-data", _UPLOAD),
        (204, "", {}),
        {
            400: "a file that the spec does not name, or weights of another layout",
            404: "its metadata is not here",
            411: "no Content-Length",
            413: "more than the spec can need",
            507: "no room on the disk, or no memory to train it",
        },
    ),
    Endpoint(
        "GET",
        "/capabilities",
        "capabilities",
        "What this machine can do.",
        None,
        _given(schema_of(Capabilities)),
    ),
    Endpoint(
        "GET",
        "/format",
        "data_format",
        "The format of the data here.",
        None,
        _given(_ANYTHING),
    ),
    Endpoint(
        "GET",
        "/openapi.json",
        "openapi",
        "This description.",
        None,
        _given(_ANYTHING),
        public=True,
    ),
    Endpoint(
        "GET",
        "/docs",
        "docs",
        "It as a page.",
        None,
        (200, "text/html", {}),
        public=True,
    ),
)
