"""Scopes of tokens: what a token allows at the HTTP APIs of a deployment's services. Pure."""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

Scope: TypeAlias = Literal[
    "models:read",
    "models:write",
    "results:read",
    "results:write",
    "documents:read",
    "documents:write",
    "jobs:read",
    "jobs:write",
    "inference",
]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

SCOPE_MEANINGS: Final[Mapping[Scope, str]] = {
    "models:read": "list models, read their versions, download weights and files",
    "models:write": "upload versions, tag and promote them, delete the weights of earlier ones",
    "results:read": "read results of jobs and the weights that they led to",
    "results:write": "store, change and delete results of other programs",
    "documents:read": "read strategies, transformations and collectors with their files",
    "documents:write": "store, change and delete strategies, transformations and collectors",
    "jobs:read": "read the state of jobs and configurations",
    "jobs:write": "submit and stop jobs, store configurations",
    "inference": "ask for predictions",
}
