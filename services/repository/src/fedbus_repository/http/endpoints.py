"""Table of the repository's HTTP endpoints: the paths of ASSIST-IoT's FL repository."""

from collections.abc import Iterator, Sequence
from functools import partial

from fedbus.http_api.endpoints import (
    ANYTHING,
    FILE,
    PAGES,
    ApiDescription,
    Content,
    Endpoint,
    json_of,
    list_of,
    schema_of,
    schemas_of,
)
from fedbus.http_api.scopes import Scope
from fedbus_repository.http.name_endpoints import NAME_ENDPOINTS
from fedbus_repository.http.pages import PAGE_QUERY
from fedbus_repository.http.schemas import (
    AvailableFile,
    ChangePage,
    CollectorDocument,
    ModelUpload,
    NamesReport,
    Promotion,
    RelativesReport,
    ResultDocument,
    RollBack,
    StrategyDocument,
    Tagging,
    TransformationDocument,
    VersionReport,
)

BINARY: Content = (200, "application/octet-stream", FILE)
DONE: Content = (204, "", {})
RANGES = {412: "If-Match names other bytes", 416: "the range begins beyond the end"}
UPLOAD_ERRORS = {
    400: "no file, several ones, another digest than a header says, or the body broke off",
    408: "nothing came for 30 s",
    411: "no Content-Length",
    413: "too large",
    503: "too many uploads at a time",
    507: "too little free disk space",
}
FORM = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}},
}
VERSION_FORM = {
    "type": "object",
    "properties": {
        "weights": {
            "type": "string",
            "format": "binary",
            "description": "an .npz file, or a blob of the encoding `plain`",
        },
        "file": {"type": "string", "format": "binary", "description": "a file of the spec"},
    },
}
WEIGHT_FORMAT_QUERY = {"format": "npz or safetensors; by default plain"}
_VERSION = "/{name}/{version}"
_NO_VERSION = {400: "not a version: a number, `latest`, an alias or a tag", 404: "no such version"}
_models_read = partial(Endpoint, "GET", scope="models:read")
_MODELS: Sequence[Endpoint] = (
    Endpoint(
        "POST",
        "/model",
        "models.create",
        "Create the draft of a new version: a model spec, and anything as `meta`.",
        json_of(schema_of(VersionReport), 201),
        {400: "not a spec, or the version exists", 413: "too large", 507: "too many drafts"},
        ("application/json", schema_of(ModelUpload)),
        scope="models:write",
    ),
    Endpoint(
        "PUT",
        f"/model{_VERSION}",
        "models.upload",
        "Upload the weights and files of a draft in one form: it becomes a version.",
        DONE,
        {
            **UPLOAD_ERRORS,
            400: "the weights or files do not fit the spec, or the body broke off",
            404: "no draft of this version",
            409: "the model is in training, or its latest version was trained (?reset=true)",
        },
        ("multipart/form-data", VERSION_FORM),
        scope="models:write",
        query={"reset": "true: also if the latest version was trained"},
    ),
    _models_read(
        f"/model{_VERSION}",
        "models.download",
        "Weights of a version: a blob of the encoding `plain`, or a file of named arrays.",
        BINARY,
        {**_NO_VERSION, 409: "encrypted, or the model only runs: it has no arrays", **RANGES},
        query=WEIGHT_FORMAT_QUERY,
    ),
    Endpoint(
        "DELETE",
        f"/model{_VERSION}",
        "models.delete",
        "Delete a draft, or the weights of a version; its record stays.",
        DONE,
        {**_NO_VERSION, 409: "the latest version, a named one, or the anchor of an encrypted one"},
        scope="models:write",
    ),
    Endpoint(
        "PUT",
        f"/model/meta{_VERSION}",
        "models.change_meta",
        "Replace the `meta` of a version or a draft.",
        DONE,
        _NO_VERSION,
        ("application/json", ANYTHING),
        scope="models:write",
    ),
    _models_read(
        f"/model/meta{_VERSION}",
        "models.show_meta",
        "A version or a draft with its model spec.",
        json_of(schema_of(VersionReport)),
        _NO_VERSION,
    ),
    _models_read(
        "/model/meta",
        "models.show_meta",
        "A version with its spec, by `model_name` and `model_version`; without them the list.",
        json_of(schema_of(VersionReport)),
        _NO_VERSION,
        query={"model_name": "the model", "model_version": "by default the latest version"},
    ),
    _models_read(
        "/model",
        "models.list_all",
        "The latest version of each model and the drafts, or the versions of one model.",
        json_of(list_of(VersionReport)),
        {404: "no such model"},
        query={
            "model": "the versions of this model, newest first; `after` is then a version",
            "trained": "true: versions that a job has made, only",
            **PAGE_QUERY,
        },
    ),
    _models_read(
        "/models/available",
        "models.available",
        "The weights that can be fetched, by model and version.",
        json_of(list_of(AvailableFile)),
        query=PAGE_QUERY,
    ),
    _models_read(
        "/models/download/shell/{file}",
        "models.architecture",
        "The file of an architecture, such as a `.tflite` file; `file` is `model_NAME_VERSION`.",
        BINARY,
        {**_NO_VERSION, **RANGES},
        query={"architecture": "which one, if the spec has several"},
    ),
)


def _documents(  # noqa: PLR0913 - what the kinds differ in
    handler: str,
    path: str,
    parts: str,
    schema: type[object],
    what: str,
    *,
    read: Scope = "documents:read",
    write: Scope = "documents:write",
) -> Iterator[Endpoint]:
    """Yield the endpoints of one kind of documents."""
    none = {404: f"no such {what}"}
    yield Endpoint(
        "POST",
        path,
        f"{handler}.create",
        f"Store a {what}, without its file.",
        json_of(schema_of(schema), 201),
        {400: f"not a {what}, or there is one of this name", 413: "too large", 507: "too many"},
        ("application/json", schema_of(schema)),
        scope=write,
    )
    yield Endpoint(
        "GET",
        path,
        f"{handler}.list_all",
        "A page of them, by name.",
        json_of(list_of(schema)),
        scope=read,
        query=PAGE_QUERY,
    )
    yield Endpoint(
        "GET",
        f"{path}/meta{parts}",
        f"{handler}.show",
        f"A {what} without its file.",
        json_of(schema_of(schema)),
        none,
        scope=read,
    )
    yield Endpoint(
        "PUT",
        f"{path}/meta{parts}",
        f"{handler}.change",
        f"Change a {what}; its file stays.",
        DONE,
        {400: f"not a {what}", 413: "too large", **none},
        ("application/json", schema_of(schema)),
        scope=write,
    )
    yield Endpoint(
        "DELETE",
        f"{path}{parts}",
        f"{handler}.delete",
        f"Delete a {what} and its file.",
        DONE,
        none,
        scope=write,
    )


def _with_files(
    handler: str, path: str, parts: str, schema: type[object], what: str
) -> Iterator[Endpoint]:
    yield from _documents(handler, path, parts, schema, what)
    none = {404: f"no such {what}, or it has no file"}
    yield Endpoint(
        "PUT",
        f"{path}{parts}",
        f"{handler}.upload",
        f"Upload the file of a {what}. It is stored, and never loaded or executed.",
        DONE,
        {**UPLOAD_ERRORS, **none},
        ("multipart/form-data", FORM),
        scope="documents:write",
    )
    yield Endpoint(
        "GET",
        f"{path}{parts}",
        f"{handler}.download",
        f"The file of a {what}.",
        BINARY,
        {**none, **RANGES},
        scope="documents:read",
    )


_RESULT = "/{model_name}/{model_version}/{training_id}"
_RESULTS: Sequence[Endpoint] = (
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
    *_documents(
        "results",
        "/training-results",
        _RESULT,
        ResultDocument,
        "result",
        read="results:read",
        write="results:write",
    ),
    Endpoint(
        "GET",
        "/training-results/{model_name}/{model_version}",
        "results.of_version",
        "Results of the trainings of one version, also those of jobs.",
        json_of(list_of(ResultDocument)),
        scope="results:read",
        query=PAGE_QUERY,
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

ENDPOINTS: Sequence[Endpoint] = (
    *_MODELS,
    *NAME_ENDPOINTS,
    *_RESULTS,
    *_with_files("strategies", "/strategy", "/{strategy_name}", StrategyDocument, "strategy"),
    *_with_files(
        "transformations", "/transformation", "/{id}", TransformationDocument, "transformation"
    ),
    *_with_files("collectors", "/collector", _VERSION, CollectorDocument, "collector"),
    *PAGES,
)


def description() -> ApiDescription:
    """Return the description of the repository's API."""
    kinds = (
        *(ModelUpload, VersionReport, AvailableFile, ResultDocument),
        *(NamesReport, ChangePage, RelativesReport, Tagging, Promotion, RollBack),
        *(StrategyDocument, TransformationDocument, CollectorDocument),
    )
    return ApiDescription("fedbus repository", ENDPOINTS, schemas_of(kinds))
