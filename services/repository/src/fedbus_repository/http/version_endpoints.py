"""Table of the repository's endpoints of versions and drafts: ASSIST-IoT's paths."""

from collections.abc import Sequence
from functools import partial

from fedbus.http_api.endpoints import ANYTHING, Endpoint, json_of, list_of, schema_of
from fedbus_repository.http.file_answers import (
    BINARY,
    DONE,
    RANGES,
    UPLOAD_ERRORS,
    WEIGHT_FORMAT_QUERY,
)
from fedbus_repository.http.pages import PAGE_QUERY
from fedbus_repository.http.schemas import AvailableFile, ModelUpload, VersionReport

VERSION_FORM = {
    "type": "object",
    "properties": {
        "weights": {
            "type": "string",
            "format": "binary",
            "description": "an .npz file, or a blob of the encoding `plain`; none if the layout is "
            "empty",
        },
        "file": {"type": "string", "format": "binary", "description": "a file of the spec"},
    },
}
_VERSION = "/{name}/{version}"
_NO_VERSION = {400: "not a version: a number, `latest`, an alias or a tag", 404: "no such version"}
_models_read = partial(Endpoint, "GET", scope="models:read")
VERSION_ENDPOINTS: Sequence[Endpoint] = (
    Endpoint(
        "POST",
        "/model",
        "drafts.create",
        "Create the draft of a new version: a model spec, and anything as `meta`.",
        json_of(schema_of(VersionReport), 201),
        {400: "not a spec, or the version exists", 413: "too large", 507: "too many drafts"},
        ("application/json", schema_of(ModelUpload)),
        scope="models:write",
    ),
    Endpoint(
        "PUT",
        f"/model{_VERSION}",
        "drafts.upload",
        "Upload the weights and files of a draft in one form: it becomes a version. A model that "
        "only runs has no weights.",
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
        "files.download",
        "Weights of a version: a blob of the encoding `plain`, or a file of named arrays.",
        BINARY,
        {**_NO_VERSION, 409: "encrypted, or the model only runs: it has no arrays", **RANGES},
        query=WEIGHT_FORMAT_QUERY,
    ),
    Endpoint(
        "DELETE",
        f"/model{_VERSION}",
        "versions.delete",
        "Delete a draft, or the weights of a version; its record stays.",
        DONE,
        {**_NO_VERSION, 409: "the latest version, a named one, or the anchor of an encrypted one"},
        scope="models:write",
    ),
    Endpoint(
        "PUT",
        f"/model/meta{_VERSION}",
        "versions.change_meta",
        "Replace the `meta` of a version or a draft.",
        DONE,
        _NO_VERSION,
        ("application/json", ANYTHING),
        scope="models:write",
    ),
    _models_read(
        f"/model/meta{_VERSION}",
        "versions.show_meta",
        "A version or a draft with its model spec.",
        json_of(schema_of(VersionReport)),
        _NO_VERSION,
    ),
    _models_read(
        "/model/meta",
        "versions.show_meta",
        "A version with its spec, by `model_name` and `model_version`; without them the list.",
        json_of(schema_of(VersionReport)),
        _NO_VERSION,
        query={"model_name": "the model", "model_version": "by default the latest version"},
    ),
    _models_read(
        "/model",
        "versions.list_all",
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
        "versions.available",
        "The weights that can be fetched, by model and version.",
        json_of(list_of(AvailableFile)),
        query=PAGE_QUERY,
    ),
    _models_read(
        "/models/download/shell/{file}",
        "files.architecture",
        "The file of an architecture, such as a `.tflite` file; `file` is `model_NAME_VERSION`.",
        BINARY,
        {**_NO_VERSION, **RANGES},
        query={"architecture": "which one, if the spec has several"},
    ),
)
