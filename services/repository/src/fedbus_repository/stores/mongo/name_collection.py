# ruff: noqa: D102 - the methods are documented in NameRecords
"""Tags and aliases in MongoDB, each change one document that is never changed and never deleted.

Changes are in their wire encoding (msgpack), with what queries compare beside it.
"""

from typing import Any, Final

from fedbus.wire import codec
from fedbus.wire.messages.model_trail import NameChange
from fedbus_repository.stores.mongo.collections import Collections

NAME_CHANGES: Final = "name_changes"


class NameCollection:
    """`NameRecords` in MongoDB."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def last_name_changes(self, model: str) -> tuple[NameChange, ...]:
        order = (("name", -1), ("number", -1))
        found = self._collections.first_of_each(
            NAME_CHANGES, "name", order, "change", found_by={"model": model}
        )
        return tuple(codec.unpack(NameChange, change) for change in found.values())

    def named_models(self) -> tuple[str, ...]:
        order = (("model", -1), ("number", -1))
        found = self._collections.first_of_each(NAME_CHANGES, "model", order, "number")
        return tuple(sorted(found))

    def name_changes(
        self, model: str, name: str | None, limit: int, before: int | None
    ) -> tuple[NameChange, ...]:
        wanted: dict[str, Any] = {"model": model}
        if name is not None:
            wanted["name"] = name
        if before is not None:
            wanted["number"] = {"$lt": before}
        found = self._collections.find(
            NAME_CHANGES, wanted, order=(("number", -1),), limit=limit, fields={"change": 1}
        )
        return tuple(codec.unpack(NameChange, each["change"]) for each in found)

    def append_name_change(self, change: NameChange) -> None:
        self._collections.insert(NAME_CHANGES, name_change_document(change))


def name_change_document(change: NameChange) -> dict[str, Any]:
    """Return the document of a change."""
    return {
        "model": change.model,
        "number": change.number,
        "name": change.name,
        "kind": change.kind,
        "version": change.version,
        "change": codec.pack(change),
    }
