# ruff: noqa: D102 - the methods are documented in ConfigurationRecords
"""Configurations of jobs in MongoDB, each one document that is never changed and never deleted."""

from typing import Any, Final

from fedbus_repository.stores.mongo.document_collection import DocumentCollection
from fedbus_repository.stores.mongo.documents import Document
from fedbus_repository.stores.mongo.ledger_collection import LAST_FIRST
from fedbus_repository.stores.records import StoredConfiguration

CONFIGURATIONS: Final = "configurations"


class ConfigurationCollection(DocumentCollection):
    """`ConfigurationRecords` in MongoDB."""

    def configuration(self, name: str) -> StoredConfiguration | None:
        found = self._collections.find_one(CONFIGURATIONS, {"_id": name})
        return None if found is None else configuration_of(found)

    def configurations(
        self, model: str | None, limit: int, before: int | None = None
    ) -> tuple[StoredConfiguration, ...]:
        if limit < 1:
            return ()
        found_by: dict[str, Any] = {} if model is None else {"model": model}
        if before is not None:
            found_by["number"] = {"$lt": before}
        found = self._collections.find(CONFIGURATIONS, found_by, order=LAST_FIRST, limit=limit)
        return tuple(map(configuration_of, found))

    def insert_configuration(self, new: StoredConfiguration) -> None:
        self._collections.insert(CONFIGURATIONS, configuration_document(new))


def configuration_document(new: StoredConfiguration) -> dict[str, Any]:
    """Return the document of a configuration."""
    return {
        "_id": new.configuration,
        "number": new.number,
        "model": new.model,
        "file": new.file,
        "created": new.at,
    }


def configuration_of(document: Document) -> StoredConfiguration:
    """Return the configuration of a document."""
    return StoredConfiguration(
        configuration=document["_id"],
        model=document["model"],
        number=document["number"],
        file=bytes(document["file"]),
        at=document["created"],
    )
