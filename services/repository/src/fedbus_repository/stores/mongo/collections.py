"""Reads and writes of single documents in the collections of a MongoDB store."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from fedbus.errors import StoreUnusableError
from fedbus_repository.stores.disk import OnStep
from fedbus_repository.stores.mongo.connection import MongoConnection, MongoDatabase

Filter: TypeAlias = Mapping[str, Any]
Order: TypeAlias = Sequence[tuple[str, int]]

BATCH_DOCUMENTS: Final = 200
"""Documents of a long list that are in memory at a time."""


class Collections:
    """The collections of a database during one operation, which every error names.

    `on_step` is called with "record" before each write, and with "recorded" after it.
    """

    def __init__(self, connection: MongoConnection, operation: str, on_step: OnStep) -> None:
        self._connection, self._operation, self._on_step = connection, operation, on_step

    def find_one(
        self,
        collection: str,
        found_by: Filter,
        *,
        order: Order | None = None,
        fields: Mapping[str, int] | None = None,
    ) -> dict[str, Any] | None:
        """Read the first document that matches a filter."""
        return self._connection.run(
            self._operation, lambda db: db[collection].find_one(found_by, fields, sort=order)
        )

    def find(
        self,
        collection: str,
        found_by: Filter,
        *,
        order: Order,
        limit: int = 0,
        fields: Mapping[str, int] | None = None,
    ) -> list[dict[str, Any]]:
        """Read the documents that match a filter, `limit` at most; 0: all of them."""
        return self._connection.run(
            self._operation,
            lambda db: db[collection].find(found_by, fields, sort=order, limit=limit).to_list(None),
        )

    def each(
        self,
        collection: str,
        found_by: Filter,
        *,
        order: Order,
        fields: Mapping[str, int] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Read the documents that match a filter, without holding all of them in memory."""

        async def opened(db: MongoDatabase) -> Any:  # noqa: ANN401 - motor's cursor, of that file
            return db[collection].find(found_by, fields, sort=order)

        found = self._connection.run(self._operation, opened)
        while batch := self._connection.run(
            self._operation, lambda _: found.to_list(BATCH_DOCUMENTS)
        ):
            yield from batch

    def count(self, collection: str, found_by: Filter) -> int:
        """Return how many documents match a filter."""
        return self._connection.run(
            self._operation, lambda db: db[collection].count_documents(found_by)
        )

    def first_of_each(
        self, collection: str, by: str, order: Order, field: str, *, found_by: Filter | None = None
    ) -> dict[str, Any]:
        """Return a field of the first document of each value of `by`, with which `order` begins.

        Only documents that match the filter `found_by` are read. If all of `order` descends, an
        ascending index answers without reading all of them.
        """
        stages: list[dict[str, Any]] = [
            {"$match": found_by or {}},
            {"$sort": dict(order)},
            {"$group": {"_id": f"${by}", field: {"$first": f"${field}"}}},
        ]
        found = self._connection.run(
            self._operation, lambda db: db[collection].aggregate(stages).to_list(None)
        )
        return {each["_id"]: each[field] for each in found}

    def insert(self, collection: str, document: Mapping[str, Any]) -> None:
        """Insert a document; raise DuplicateRecordError if one with its unique keys exists."""
        self._on_step("record")
        self._connection.run(self._operation, lambda db: db[collection].insert_one(dict(document)))
        self._on_step("recorded")

    def update(self, collection: str, found_by: Filter, change: Mapping[str, Any]) -> None:
        """Change the one document that matches a filter.

        The filter has what the change was decided by, so that a process which was paused, and has
        lost the database to another one, changes nothing.
        """
        self._on_step("record")
        result = self._connection.run(
            self._operation, lambda db: db[collection].update_one(found_by, change)
        )
        if not result.matched_count:
            raise StoreUnusableError(
                f"{self._operation}: the {collection} of the database have been changed by another"
                " process; let one repository alone use the database"
            )
        self._on_step("recorded")

    def delete(self, collection: str, found_by: Filter) -> None:
        """Delete the document that matches a filter, if there is one."""
        self._on_step("record")
        self._connection.run(self._operation, lambda db: db[collection].delete_one(found_by))
        self._on_step("recorded")
