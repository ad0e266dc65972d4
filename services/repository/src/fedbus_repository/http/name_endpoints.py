"""Table of the repository's endpoints about tags, aliases and lineage of versions."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from fedbus.http_api.endpoints import Endpoint, json_of, schema_of
from fedbus_repository.http.pages import PAGE_QUERY
from fedbus_repository.http.schemas import (
    ChangePage,
    NamesReport,
    Promotion,
    RelativesReport,
    RollBack,
    Tagging,
)

_NAMES = json_of(schema_of(NamesReport))
_TAG: Final = "/models/{model}/tags/{tag}"
_ALIAS: Final = "/models/{model}/aliases/{alias}"
_REFUSED = {
    400: "not a name, or the body is not valid",
    404: "no such model, version or name",
    411: "no Content-Length",
    413: "too large",
}
_LIMIT = {"limit": PAGE_QUERY["limit"]}
_read = partial(Endpoint, "GET", scope="models:read")
_write = partial(Endpoint, scope="models:write")
NAME_ENDPOINTS: Sequence[Endpoint] = (
    _read(
        "/models/{model}/names",
        "names.show",
        "Tags and aliases of a model.",
        _NAMES,
        {404: "no such model"},
    ),
    _read(
        "/models/{model}/names/changes",
        "names.changes",
        "Changes of tags and aliases, newest first: which version, when, by whom, why.",
        json_of(schema_of(ChangePage)),
        {404: "no such model or name"},
        query={
            "name": "of this tag or alias only",
            **_LIMIT,
            "before": "the number of the last change of the page before",
        },
    ),
    _read(
        "/models/{model}/lineage",
        "names.lineage",
        "Ancestors of a version (nearest first), descendants of it, or leaves (both ascending).",
        json_of(schema_of(RelativesReport)),
        {400: "not a number, or no such relation", 404: "no such model or version"},
        query={
            "version": "by default the latest one; for leaves all",
            "relation": "ancestors (the default), descendants or leaves",
            **_LIMIT,
            "after": "the number of the last version of the page before",
        },
    ),
    _write(
        "PUT",
        _TAG,
        "names.tag",
        "Make a tag name a version, which then keeps its weights.",
        _NAMES,
        {**_REFUSED, 409: "it is an alias, there are too many tags, or its weights are deleted"},
        ("application/json", schema_of(Tagging)),
    ),
    _write(
        "DELETE",
        _TAG,
        "names.untag",
        "Remove a tag.",
        _NAMES,
        {404: "no such model or tag", 409: "it is an alias"},
    ),
    _write(
        "PUT",
        _ALIAS,
        "names.promote",
        "Make an alias name a version, if it names the version `expected` now.",
        _NAMES,
        {
            **_REFUSED,
            409: "it names another version now, or this one is deleted, damaged or encrypted",
        },
        ("application/json", schema_of(Promotion)),
    ),
    _write(
        "DELETE",
        _ALIAS,
        "names.remove_alias",
        "Remove an alias.",
        _NAMES,
        {404: "no such model or alias", 409: "it names another version now"},
        query={"expected": "the version that it must name now"},
    ),
    _write(
        "POST",
        f"{_ALIAS}/roll-back",
        "names.roll_back",
        "Make an alias name the version before the one that it names now, `expected`.",
        _NAMES,
        {**_REFUSED, 409: "it names another version now, or there is none before"},
        ("application/json", schema_of(RollBack)),
    ),
)
