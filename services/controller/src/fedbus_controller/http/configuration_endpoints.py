"""Table of the controller's HTTP endpoints of configurations."""

from collections.abc import Sequence
from functools import partial

from fedbus.http_api.endpoints import (
    ANYTHING,
    Endpoint,
    json_of,
    list_of,
    schema_of,
)
from fedbus_controller.http.job_endpoints import JOB_BODY, UNANSWERED
from fedbus_controller.http.schemas import (
    ConfigurationQuestion,
    ConfigurationReport,
    ModelQuestion,
)

_read = partial(Endpoint, "GET", scope="jobs:read")
_post = partial(Endpoint, "POST")
_CONFIGURATION = json_of(schema_of(ConfigurationReport))
_CONFIGURATIONS = json_of(list_of(ConfigurationReport))
_BEFORE = {"before": "the number of the last one of the page before"}
_NO_CONFIGURATION = {404: "no such configuration", **UNANSWERED}

CONFIGURATION_ENDPOINTS: Sequence[Endpoint] = (
    _post(
        "/storeConfigurationModel",
        "configurations.store",
        "Store a job file as a configuration; an equal one is not stored twice (200).",
        json_of(schema_of(ConfigurationReport), 201),
        {400: "not a valid job file, or of an unknown model", 413: "too large", **UNANSWERED},
        JOB_BODY,
        scope="jobs:write",
    ),
    _post(
        "/configurations",
        "configurations.store",
        "The same as `POST /storeConfigurationModel`.",
        json_of(schema_of(ConfigurationReport), 201),
        {400: "not a valid job file, or of an unknown model", 413: "too large", **UNANSWERED},
        JOB_BODY,
        scope="jobs:write",
    ),
    _read(
        "/configurations",
        "configurations.list_all",
        "Configurations, the newest first.",
        _CONFIGURATIONS,
        _NO_CONFIGURATION,
        query={"model": "of this model only", **_BEFORE},
    ),
    _read(
        "/configurations/{configuration_id}",
        "configurations.show",
        "A configuration.",
        _CONFIGURATION,
        _NO_CONFIGURATION,
    ),
    _read(
        "/getConfigurations",
        "configurations.list_all",
        "The same as `GET /configurations`.",
        _CONFIGURATIONS,
        _NO_CONFIGURATION,
        query=_BEFORE,
    ),
    _read(
        "/getPersistConfig",
        "configurations.defaults",
        "What keys of a job file are that it leaves out, where that does not depend on others.",
        json_of(ANYTHING),
    ),
    _read(
        "/models",
        "configurations.list_all",
        "The same as `GET /configurations`: what ASSIST-IoT's GUI shows as models.",
        _CONFIGURATIONS,
        _NO_CONFIGURATION,
        query=_BEFORE,
    ),
    _read(
        "/configurationsbyModel/{model_name}",
        "configurations.list_all",
        "Configurations of a model.",
        _CONFIGURATIONS,
        {404: "no such model", **UNANSWERED},
        query=_BEFORE,
    ),
    _post(
        "/showConfigurationModel",
        "configurations.show_newest",
        "The newest configuration of a model.",
        _CONFIGURATION,
        _NO_CONFIGURATION,
        ("application/json", schema_of(ModelQuestion)),
        scope="jobs:read",
    ),
    _post(
        "/recoverTrainedConfiguration",
        "configurations.show_asked",
        "A configuration by its id.",
        _CONFIGURATION,
        _NO_CONFIGURATION,
        ("application/json", schema_of(ConfigurationQuestion)),
        scope="jobs:read",
    ),
)
