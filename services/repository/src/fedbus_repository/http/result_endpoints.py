"""Table of the repository's endpoints of training results: ASSIST-IoT's paths."""

from collections.abc import Sequence

from fedbus.http_api.endpoints import Endpoint, json_of, list_of
from fedbus_repository.http.document_endpoints import endpoints_of_documents
from fedbus_repository.http.file_answers import (
    BINARY,
    DONE,
    FORM,
    RANGES,
    UPLOAD_ERRORS,
    WEIGHT_FORMAT_QUERY,
)
from fedbus_repository.http.pages import PAGE_QUERY
from fedbus_repository.http.schemas import ResultDocument

RESULT_PAGE_QUERY = {
    **PAGE_QUERY,
    "after": "the last one of the page before, as `MODEL/VERSION/TRAINING`; those of jobs are "
    "behind those that were stored",
}
_RESULT = "/{model_name}/{model_version}/{training_id}"
RESULT_ENDPOINTS: Sequence[Endpoint] = (
    Endpoint(
        "GET",
        "/training-results/weights" + _RESULT,
        "results.download",
        "The weights of a result, as those of a version.",
        BINARY,
        {
            404: "no such result, or it has no weights",
            409: "no arrays: encrypted, or a file of another program",
            **RANGES,
        },
        scope="results:read",
        query=WEIGHT_FORMAT_QUERY,
    ),
    *endpoints_of_documents(
        "results",
        "/training-results",
        _RESULT,
        ResultDocument,
        "result",
        read="results:read",
        write="results:write",
        query=RESULT_PAGE_QUERY,
    ),
    Endpoint(
        "GET",
        "/training-results/{model_name}/{model_version}",
        "results.of_version",
        "Results of the trainings of one version, also those of jobs.",
        json_of(list_of(ResultDocument)),
        scope="results:read",
        query=RESULT_PAGE_QUERY,
    ),
    Endpoint(
        "PUT",
        "/training-results" + _RESULT + "/{configuration_id}",
        "results.upload_weights",
        "Upload the weights of a result.",
        DONE,
        {**UPLOAD_ERRORS, 404: "no such result, or it has another configuration"},
        ("multipart/form-data", FORM),
        scope="results:write",
    ),
)
