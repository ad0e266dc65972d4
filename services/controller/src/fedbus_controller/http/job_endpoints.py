"""Table of the controller's HTTP endpoints of jobs."""

from collections.abc import Sequence
from functools import partial

from fedbus.http_api.endpoints import (
    ANYTHING,
    Endpoint,
    json_of,
    list_of,
    schema_of,
)
from fedbus_controller.http.schemas import (
    ConfiguredTraining,
    JobAccepted,
    JobStatus,
    ResultReport,
)

JOB_FILE = "JobFile"
JOB_BODY = ("application/json", schema_of(JOB_FILE))
_LATE = {
    503: "this controller has no lease; another one leads",
    504: "the repository or the broker does not answer",
}
UNANSWERED = {504: _LATE[504]}
_SUBMIT = {
    400: "the job file is not valid, every fault is listed; or another job has this id",
    413: "too large",
    **_LATE,
}
_read = partial(Endpoint, "GET", scope="jobs:read")
_post = partial(Endpoint, "POST")
_ACCEPTED = json_of(schema_of(JobAccepted), 201)
_STATUS = json_of(schema_of(JobStatus))
JOB_ENDPOINTS: Sequence[Endpoint] = (
    _post(
        "/job",
        "jobs.submit",
        "Submit a job file; the answer has the job's id, and warnings.",
        _ACCEPTED,
        _SUBMIT,
        JOB_BODY,
        scope="jobs:write",
    ),
    _post(
        "/job/config/{training_id}/",
        "jobs.submit",
        "Submit a job file under this id; sent again, it is the same job (200).",
        _ACCEPTED,
        _SUBMIT,
        JOB_BODY,
        scope="jobs:write",
    ),
    _post(
        "/trainingModel",
        "jobs.train",
        "Submit a job file, or a stored configuration by its id.",
        _ACCEPTED,
        {404: "no such configuration", **_SUBMIT},
        ("application/json", schema_of(ConfiguredTraining)),
        scope="jobs:write",
    ),
    _read(
        "/job/status",
        "jobs.list_all",
        "Jobs that run, and that ended last.",
        json_of(list_of(JobStatus)),
    ),
    _read(
        "/job/status/{training_id}",
        "jobs.show",
        "Status of a job; INACTIVE: it is not known.",
        _STATUS,
        UNANSWERED,
    ),
    _read(
        "/job/file/{training_id}",
        "jobs.file",
        "The file of a job, byte for byte.",
        json_of(schema_of(JOB_FILE)),
        {404: "no such job", **UNANSWERED},
    ),
    _read(
        "/job/result/{training_id}",
        "jobs.result",
        "Result of a job: metrics, strategy, privacy, energy, and its last rounds.",
        json_of(schema_of(ResultReport)),
        {404: "no such job", **UNANSWERED},
        query={"before": "rounds below this one"},
    ),
    _read(
        "/job/results/{model_name}",
        "jobs.results_of_model",
        "Results of a model's jobs, the newest first.",
        json_of(list_of(ResultReport)),
        {404: "no such model", **UNANSWERED},
        query={"before": "the last job of the page before"},
    ),
    _post(
        "/job/stop/{training_id}",
        "jobs.stop",
        "Stop a job. Versions of finished rounds stay.",
        _STATUS,
        {404: "no such job runs here", 409: "it has ended already", **_LATE},
        scope="jobs:write",
    ),
    Endpoint(
        "DELETE",
        "/job/{training_id}",
        "jobs.stop",
        "Stop a job, as `POST /job/stop/{training_id}` does.",
        _STATUS,
        {404: "no such job runs here", 409: "it has ended already", **_LATE},
        scope="jobs:write",
    ),
    _post(
        "/job/stop",
        "jobs.stop_all",
        "Stop all jobs.",
        json_of(ANYTHING),
        _LATE,
        scope="jobs:write",
    ),
)
