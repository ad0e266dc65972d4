"""Table of the agent's HTTP endpoints, the source of routes, `/openapi.json` and `/docs`."""

from collections.abc import Sequence
from functools import partial

from fedbus import jobs
from fedbus.http_api.endpoints import (
    ANYTHING,
    FILE,
    PAGES,
    REFERENCE,
    ApiDescription,
    Endpoint,
    json_of,
    list_of,
    schema_of,
    schemas_of,
)
from fedbus_edge_agent.standalone.schemas import (
    Capabilities,
    JobReport,
    ModelMetadata,
    ModelReport,
)

JOB_FILE = "JobFile"
_UPLOAD = {
    "type": "object",
    "properties": {
        "weights": {"type": "string", "format": "binary", "description": "an .npz file"},
        "architecture": {"type": "string", "format": "binary", "description": "a file of the spec"},
    },
}
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
_REPORT = json_of(schema_of(JobReport))
_get = partial(Endpoint, "GET", scope="jobs:read")
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
        scope="jobs:write",
    ),
    _get(
        "/job/status",
        "count_jobs",
        "Number of waiting and running trainings of each job, standalone or a controller's.",
        json_of(_COUNTS),
    ),
    _get("/job/status/{training_id}", "show_job", "State of a standalone job.", _REPORT, _NO_JOB),
    _get(
        "/job/total",
        "total_jobs",
        "Number of all waiting and running trainings.",
        json_of({"type": "integer"}),
    ),
    Endpoint(
        "POST",
        "/job/stop/{training_id}",
        "stop_job",
        "Stop a standalone job at its next batch. The results of finished rounds are kept.",
        _REPORT,
        _NOT_STOPPED,
        scope="jobs:write",
    ),
    Endpoint(
        "DELETE",
        "/job/{training_id}",
        "stop_job",
        "Stop a standalone job, as `POST /job/stop/{training_id}` does.",
        _REPORT,
        _NOT_STOPPED,
        scope="jobs:write",
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
        (200, "application/octet-stream", FILE),
        {404: "no such job", 409: "no round is done yet"},
    ),
    Endpoint(
        "POST",
        "/model/",
        "add_model",
        "Upload a model's metadata: its spec, as `fedbus models push` reads it.",
        json_of(schema_of(ModelReport), 201),
        body=("application/json", schema_of(ModelMetadata)),
        errors={400: "not a spec", 409: "this version was uploaded with another spec"},
        scope="models:write",
    ),
    Endpoint(
        "GET",
        "/model/",
        "list_models",
        "Uploaded models, and the files that each lacks.",
        json_of(list_of(ModelReport)),
        scope="models:read",
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
        scope="models:write",
    ),
    _get(
        "/capabilities",
        "capabilities",
        "Capabilities of this machine.",
        json_of(schema_of(Capabilities)),
    ),
    _get("/format", "data_format", "Format of this agent's data.", json_of(ANYTHING)),
    *PAGES,
)


def description() -> ApiDescription:
    """Return the description of the agent's API."""
    kinds = (JobReport, ModelMetadata, ModelReport, Capabilities)
    schemas = schemas_of(kinds, {JOB_FILE: jobs.schema(REFERENCE)})
    return ApiDescription("fedbus agent", ENDPOINTS, schemas)
