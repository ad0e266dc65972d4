"""All records of a MongoDB store, and the indexes that keep them unique."""

from collections.abc import Mapping
from typing import Any, Final

from fedbus_repository.stores.mongo.configuration_collection import ConfigurationCollection
from fedbus_repository.stores.mongo.name_collection import NameCollection

INDEXES: Final[Mapping[str, tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...]]] = {
    "jobs": (
        (("number",), {"unique": True}),
        (("running",), {"unique": True, "sparse": True}),
        (("model", "base"), {}),
        (("origin",), {"sparse": True}),
    ),
    "versions": (
        (("model", "version"), {"unique": True}),
        (("job", "round"), {"unique": True, "sparse": True}),
        (("job", "task"), {"sparse": True}),
        (("kept", "model", "version"), {}),
        (("weights_pushed", "model", "version"), {}),
        (("begins_branch", "model", "version"), {}),
        (("blobs",), {}),
        (("files",), {"sparse": True}),
    ),
    "name_changes": (
        (("model", "number"), {"unique": True}),
        (("model", "name", "number"), {}),
    ),
    "ledger": (
        (("job", "number"), {"unique": True}),
        (("job", "task"), {"unique": True}),
    ),
    "configurations": (
        (("number",), {"unique": True}),
        (("model", "number"), {}),
    ),
    "documents": (
        (("kind", "name"), {"unique": True}),
        (("blob",), {"sparse": True}),
    ),
}
"""Indexes of each collection: its fields, and MongoDB's options.

The unique ones are a second line of defence: decisions are serialized by the process that owns the
database. A sparse index leaves out documents that have none of its fields.
"""


class MongoRecords(ConfigurationCollection, NameCollection):
    """`Records` of a database during one operation; the caller has its lock."""
