# ruff: noqa: D102 - the methods are documented in ConfigurationRecords
"""SQL for configurations: rows to records and back."""

import sqlite3
from typing import Final

from fedbus_repository.stores.records import StoredConfiguration

_COLUMNS: Final = "number, id, model, file, created"


class ConfigurationRows:
    """`ConfigurationRecords` in SQLite."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def configuration(self, name: str) -> StoredConfiguration | None:
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM configurations WHERE id = ?",  # noqa: S608 - constants
            (name,),
        ).fetchone()
        return None if row is None else _configuration_of(row)

    def configurations(
        self, model: str | None, limit: int, before: int | None = None
    ) -> tuple[StoredConfiguration, ...]:
        wanted = [("model = ?", model), ("number < ?", before)]
        given = [(test, value) for test, value in wanted if value is not None]
        where = " AND ".join(test for test, _ in given) or "1"
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM configurations WHERE {where}"  # noqa: S608 - constants
            " ORDER BY number DESC LIMIT ?",
            (*(value for _, value in given), limit),
        )
        return tuple(map(_configuration_of, rows))

    def insert_configuration(self, new: StoredConfiguration) -> None:
        self._db.execute(
            f"INSERT INTO configurations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - constants
            (new.number, new.configuration, new.model, new.file, new.at),
        )


def _configuration_of(row: tuple[int, str, str, bytes, str]) -> StoredConfiguration:
    number, name, model, file, created = row
    return StoredConfiguration(
        configuration=name, model=model, number=number, file=file, at=created
    )
