# ruff: noqa: D102 - the methods are documented in NameRecords
"""SQL for the tags and aliases of models. Rows are never changed and never deleted.

Changes are stored in their wire encoding (msgpack).
"""

import sqlite3
from collections.abc import Mapping

from fedbus.wire import codec
from fedbus.wire.messages.model_trail import NameChange


class NameRows:
    """`NameRecords` in SQLite."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def last_name_changes(self, model: str) -> tuple[NameChange, ...]:
        last = "SELECT MAX(number) FROM name_changes WHERE model = :model GROUP BY name"
        return self._changes(f"model = :model AND number IN ({last})", {"model": model})

    def named_models(self) -> tuple[str, ...]:
        rows = self._db.execute("SELECT DISTINCT model FROM name_changes ORDER BY model")
        return tuple(model for (model,) in rows)

    def name_changes(
        self, model: str, name: str | None, limit: int, before: int | None
    ) -> tuple[NameChange, ...]:
        where = "model = :model" + ("" if name is None else " AND name = :name")
        where += "" if before is None else " AND number < :before"
        values = {"model": model, "name": name, "before": before, "limit": limit}
        return self._changes(f"{where} ORDER BY number DESC LIMIT :limit", values)

    def name_change(self, model: str, number: int) -> NameChange | None:
        """Read one change."""
        where = "model = :model AND number = :number"
        return next(iter(self._changes(where, {"model": model, "number": number})), None)

    def append_name_change(self, change: NameChange) -> None:
        row = (change.model, change.number, change.name, codec.pack(change))
        self._db.execute("INSERT INTO name_changes VALUES (?, ?, ?, ?)", row)

    def _changes(self, where: str, values: Mapping[str, object]) -> tuple[NameChange, ...]:
        rows = self._db.execute(f"SELECT change FROM name_changes WHERE {where}", values)  # noqa: S608 - constants
        return tuple(codec.unpack(NameChange, change) for (change,) in rows)
