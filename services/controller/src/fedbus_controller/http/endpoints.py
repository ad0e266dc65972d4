"""Table of the controller's HTTP endpoints: those of ASSIST-IoT's orchestrator and collector."""

from collections.abc import Sequence
from functools import partial

from fedbus import jobs
from fedbus.http_api.endpoints import (
    ANYTHING,
    PAGES,
    REFERENCE,
    ApiDescription,
    Endpoint,
    json_of,
    list_of,
    schema_of,
    schemas_of,
)
from fedbus_controller.http.schemas import (
    ConfigurationQuestion,
    ConfigurationReport,
    ConfiguredTraining,
    EnablersStatus,
    JobAccepted,
    JobStatus,
    ModelQuestion,
    ResultReport,
)

JOB_FILE = "JobFile"
_JOB_BODY = ("application/json", schema_of(JOB_FILE))
_LATE = {
    503: "this controller has no lease; another one leads",
    504: "the repository or the broker does not answer",
}
_UNANSWERED = {504: _LATE[504]}
_SUBMIT = {
    400: "the job file is not valid, every fault is listed; or another job has this id",
    413: "too large",
    **_LATE,
}
_read = partial(Endpoint, "GET", scope="jobs:read")
_post = partial(Endpoint, "POST")
_ACCEPTED = json_of(schema_of(JobAccepted), 201)
_STATUS = json_of(schema_of(JobStatus))
_CONFIGURATION = json_of(schema_of(ConfigurationReport))
_CONFIGURATIONS = json_of(list_of(ConfigurationReport))
_BEFORE = {"before": "the number of the last one of the page before"}
_NO_CONFIGURATION = {404: "no such configuration", **_UNANSWERED}

_JOBS: Sequence[Endpoint] = (
    _post(
        "/job",
        "submit",
        "Submit a job file; the answer has the job's id, and warnings.",
        _ACCEPTED,
        _SUBMIT,
        _JOB_BODY,
        scope="jobs:write",
    ),
    _post(
        "/job/config/{training_id}/",
        "submit",
        "Submit a job file under this id; sent again, it is the same job (200).",
        _ACCEPTED,
        _SUBMIT,
        _JOB_BODY,
        scope="jobs:write",
    ),
    _post(
        "/trainingModel",
        "train",
        "Submit a job file, or a stored configuration by its id.",
        _ACCEPTED,
        {404: "no such configuration", **_SUBMIT},
        ("application/json", schema_of(ConfiguredTraining)),
        scope="jobs:write",
    ),
    _read(
        "/job/status",
        "list_jobs",
        "Jobs that run, and that ended last.",
        json_of(list_of(JobStatus)),
    ),
    _read(
        "/job/status/{training_id}",
        "show_job",
        "Status of a job; INACTIVE: it is not known.",
        _STATUS,
        _UNANSWERED,
    ),
    _read(
        "/job/file/{training_id}",
        "job_file",
        "The file of a job, byte for byte.",
        json_of(schema_of(JOB_FILE)),
        {404: "no such job", **_UNANSWERED},
    ),
    _read(
        "/job/result/{training_id}",
        "job_result",
        "Result of a job: metrics, strategy, privacy, energy, and its last rounds.",
        json_of(schema_of(ResultReport)),
        {404: "no such job", **_UNANSWERED},
        query={"before": "rounds below this one"},
    ),
    _read(
        "/job/results/{model_name}",
        "results_of_model",
        "Results of a model's jobs, the newest first.",
        json_of(list_of(ResultReport)),
        {404: "no such model", **_UNANSWERED},
        query={"before": "the last job of the page before"},
    ),
    _post(
        "/job/stop/{training_id}",
        "stop_job",
        "Stop a job. Versions of finished rounds stay.",
        _STATUS,
        {404: "no such job runs here", 409: "it has ended already", **_LATE},
        scope="jobs:write",
    ),
    Endpoint(
        "DELETE",
        "/job/{training_id}",
        "stop_job",
        "Stop a job, as `POST /job/stop/{training_id}` does.",
        _STATUS,
        {404: "no such job runs here", 409: "it has ended already", **_LATE},
        scope="jobs:write",
    ),
    _post(
        "/job/stop",
        "stop_all",
        "Stop all jobs.",
        json_of(ANYTHING),
        _LATE,
        scope="jobs:write",
    ),
)
_CONFIGURATIONS_OF: Sequence[Endpoint] = (
    _post(
        "/storeConfigurationModel",
        "store_configuration",
        "Store a job file as a configuration; an equal one is not stored twice (200).",
        json_of(schema_of(ConfigurationReport), 201),
        {400: "not a valid job file, or of an unknown model", 413: "too large", **_UNANSWERED},
        _JOB_BODY,
        scope="jobs:write",
    ),
    _post(
        "/configurations",
        "store_configuration",
        "The same as `POST /storeConfigurationModel`.",
        json_of(schema_of(ConfigurationReport), 201),
        {400: "not a valid job file, or of an unknown model", 413: "too large", **_UNANSWERED},
        _JOB_BODY,
        scope="jobs:write",
    ),
    _read(
        "/configurations",
        "list_configurations",
        "Configurations, the newest first.",
        _CONFIGURATIONS,
        _NO_CONFIGURATION,
        query={"model": "of this model only", **_BEFORE},
    ),
    _read(
        "/configurations/{configuration_id}",
        "show_configuration",
        "A configuration.",
        _CONFIGURATION,
        _NO_CONFIGURATION,
    ),
    _read(
        "/getConfigurations",
        "list_configurations",
        "The same as `GET /configurations`.",
        _CONFIGURATIONS,
        _NO_CONFIGURATION,
        query=_BEFORE,
    ),
    _read(
        "/models",
        "list_configurations",
        "The same as `GET /configurations`: what ASSIST-IoT's GUI shows as models.",
        _CONFIGURATIONS,
        _NO_CONFIGURATION,
        query=_BEFORE,
    ),
    _read(
        "/configurationsbyModel/{model_name}",
        "list_configurations",
        "Configurations of a model.",
        _CONFIGURATIONS,
        {404: "no such model", **_UNANSWERED},
        query=_BEFORE,
    ),
    _post(
        "/showConfigurationModel",
        "configuration_of_model",
        "The newest configuration of a model.",
        _CONFIGURATION,
        _NO_CONFIGURATION,
        ("application/json", schema_of(ModelQuestion)),
        scope="jobs:read",
    ),
    _post(
        "/recoverTrainedConfiguration",
        "trained_configuration",
        "A configuration by its id.",
        _CONFIGURATION,
        _NO_CONFIGURATION,
        ("application/json", schema_of(ConfigurationQuestion)),
        scope="jobs:read",
    ),
    _read(
        "/recoverStatusFromEnablers",
        "enablers",
        "Which services this controller sees: numbers, no names.",
        json_of(schema_of(EnablersStatus)),
    ),
)
_WITHOUT_MEANING: Sequence[Endpoint] = tuple(
    Endpoint(
        method,
        path,
        "no_meaning",
        "Has no meaning in fedbus; the answer says what to use instead.",
        (501, "application/json", schema_of("Problem")),
        scope="jobs:read",
    )
    for method, path in (
        ("POST", "/FL_early_end"),
        ("POST", "/FL_traininground"),
        ("GET", "/recoverTrainingEpochs/{epoch}/{total_epochs}"),
        ("GET", "/databases"),
        ("GET", "/addModelData"),
        ("GET", "/modelData"),
        ("GET", "/getPersistConfig"),
        ("POST", "/updateConfigurationModel"),
    )
)

ENDPOINTS: Sequence[Endpoint] = (*_JOBS, *_CONFIGURATIONS_OF, *_WITHOUT_MEANING, *PAGES)


def description() -> ApiDescription:
    """Return the description of the controller's API."""
    kinds = (
        *(JobAccepted, JobStatus, ResultReport, ConfigurationReport, ConfiguredTraining),
        *(ModelQuestion, ConfigurationQuestion, EnablersStatus),
    )
    schemas = schemas_of(kinds, {JOB_FILE: jobs.schema(REFERENCE)})
    return ApiDescription("fedbus controller", ENDPOINTS, schemas)
