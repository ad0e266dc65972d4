"""Table of the controller's HTTP endpoints: those of ASSIST-IoT's orchestrator and collector."""

from collections.abc import Sequence

from fedbus import jobs
from fedbus.http_api.endpoints import (
    PAGES,
    REFERENCE,
    ApiDescription,
    Endpoint,
    json_of,
    schema_of,
    schemas_of,
)
from fedbus_controller.http.configuration_endpoints import CONFIGURATION_ENDPOINTS
from fedbus_controller.http.job_endpoints import JOB_ENDPOINTS, JOB_FILE
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

_ENABLERS = Endpoint(
    "GET",
    "/recoverStatusFromEnablers",
    "enablers",
    "Which services this controller sees: numbers, no names.",
    json_of(schema_of(EnablersStatus)),
    scope="jobs:read",
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
        ("POST", "/updateConfigurationModel"),
    )
)

ENDPOINTS: Sequence[Endpoint] = (
    *JOB_ENDPOINTS,
    *CONFIGURATION_ENDPOINTS,
    _ENABLERS,
    *_WITHOUT_MEANING,
    *PAGES,
)


def description() -> ApiDescription:
    """Return the description of the controller's API."""
    kinds = (
        *(JobAccepted, JobStatus, ResultReport, ConfigurationReport, ConfiguredTraining),
        *(ModelQuestion, ConfigurationQuestion, EnablersStatus),
    )
    schemas = schemas_of(kinds, {JOB_FILE: jobs.schema(REFERENCE)})
    return ApiDescription("fedbus controller", ENDPOINTS, schemas)
