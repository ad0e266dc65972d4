# ruff: noqa: D102 - the methods are documented in VersionRecords
"""Versions of models in MongoDB, each one document with its round and its references to blobs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.round_records import RoundRecord
from fedbus_repository.stores.commit_rules import CountedUpdate
from fedbus_repository.stores.lineage import Branch
from fedbus_repository.stores.mongo.collections import Collections, Filter, Order
from fedbus_repository.stores.mongo.documents import (
    WITHOUT_RECORD,
    evaluation_change,
    history_entry_of,
    version_document,
    version_of,
)
from fedbus_repository.stores.records import HistoryEntry, Version

VERSIONS: Final = "versions"
NEWEST_FIRST: Final = (("version", -1),)
OLDEST_FIRST: Final = (("version", 1),)
MAX_ALTERNATIVES: Final = 100
"""Documents that one query names."""


class VersionCollection:
    """`VersionRecords` in MongoDB."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def version(self, model: str, number: int) -> Version | None:
        return self._one({"model": model, "version": number}, NEWEST_FIRST)

    def latest(self, model: str) -> Version | None:
        return self._one({"model": model}, NEWEST_FIRST)

    def models(self) -> tuple[str, ...]:
        return tuple(sorted(self._newest_numbers()))

    def latest_of_all(self) -> tuple[Version, ...]:
        newest = self._newest_numbers()
        wanted = [{"model": model, "version": newest[model]} for model in sorted(newest)]
        found: list[Version] = []
        for at in range(0, len(wanted), MAX_ALTERNATIVES):
            some = {"$or": wanted[at : at + MAX_ALTERNATIVES]}
            found.extend(self._some(some, (("model", 1),)))
        return tuple(found)

    def last_of_job(self, job: str) -> Version | None:
        """Read the version of a job's last committed round."""
        return self._one({"job": job}, (("round", -1),))

    def newest(self, model: str, limit: int, before: int | None = None) -> tuple[Version, ...]:
        if limit < 1:
            return ()
        below = {} if before is None else {"version": {"$lt": before}}
        return self._some({"model": model} | below, NEWEST_FIRST, limit)

    def with_weights(self, model: str) -> tuple[Version, ...]:
        return self._some({"model": model, "kept": True}, NEWEST_FIRST)

    def versions(self, model: str, numbers: Sequence[int]) -> tuple[Version, ...]:
        wanted = {"model": model, "version": {"$in": list(numbers)}}
        return self._some(wanted, OLDEST_FIRST) if numbers else ()

    def branches(self, model: str) -> list[Branch]:
        found = self._collections.each(
            VERSIONS,
            {"begins_branch": True, "model": model},
            order=OLDEST_FIRST,
            fields={"version": 1, "base": 1},
        )
        return [Branch(each["version"], each["base"]) for each in found]

    def last_pushed(self, model: str) -> int:
        found = self._collections.find_one(
            VERSIONS,
            {"model": model, "weights_pushed": True},
            order=NEWEST_FIRST,
            fields={"version": 1},
        )
        return 0 if found is None else int(found["version"])

    def committed_round(self, job: str, number: int) -> HistoryEntry | None:
        found = self._collections.find_one(VERSIONS, {"job": job, "round": number})
        return None if found is None else history_entry_of(found)

    def history(self) -> Iterator[HistoryEntry]:
        order = (("model", 1), ("version", 1))
        found = self._collections.each(VERSIONS, {}, order=order)
        return (history_entry_of(each) for each in found)

    def counted_updates(self, job: str, task: int) -> set[CountedUpdate]:
        found = self._collections.find(
            VERSIONS, {"job": job, "task": task}, order=NEWEST_FIRST, fields={"counted": 1}
        )
        return {(agent, task) for each in found for agent in each["counted"]}

    def rounds_of(self, job: str, limit: int, before: int | None = None) -> tuple[Version, ...]:
        if limit < 1:
            return ()
        below = {} if before is None else {"round": {"$lt": before}}
        return self._some({"job": job} | below, (("round", -1),), limit)

    def energy_of(self, job: str) -> Iterator[EnergyUsed]:
        found = self._collections.each(
            VERSIONS, {"job": job}, order=(("round", 1),), fields={"energy": 1}
        )
        return (codec.unpack(EnergyUsed, each["energy"]) for each in found if "energy" in each)

    def referenced_digests(self) -> set[str]:
        order, fields = (("model", 1), ("version", 1)), {"blobs": 1, "files": 1}
        kept = self._collections.each(VERSIONS, {"kept": True}, order=order, fields=fields)
        pushed = {"weights_pushed": True}
        own = {digest for each in kept for digest in (*each["blobs"], *each.get("files", ()))}
        found = self._collections.each(VERSIONS, pushed, order=order, fields={"files": 1})
        return own | {digest for each in found for digest in each.get("files", ())}

    def unreferenced(self, digests: Iterable[str]) -> list[str]:
        asked = list(digests)
        referenced: set[str] = set()
        for field in ("blobs", "files"):
            # A list of values is what both MongoDB and the test server look for in an array.
            found = self._collections.find(
                VERSIONS, {field: {"$in": asked}}, order=NEWEST_FIRST, fields={field: 1}
            )
            referenced.update(digest for each in found for digest in each[field])
        return [digest for digest in asked if digest not in referenced]

    def insert_version(
        self, made: Version, record: RoundRecord | None, files: tuple[BlobRef, ...]
    ) -> None:
        self._collections.insert(VERSIONS, version_document(made, record, files))

    def set_evaluation(self, evaluated: Version) -> None:
        change = {"$set": evaluation_change(evaluated)}
        self._collections.update(VERSIONS, _key(evaluated), change)

    def mark_deleted(self, version: Version) -> None:
        change = {"$set": {"kept": False, "blobs": []}}
        self._collections.update(VERSIONS, _key(version), change)

    def _newest_numbers(self) -> dict[str, int]:
        order = (("model", -1), ("version", -1))
        return self._collections.first_of_each(VERSIONS, "model", order, "version")

    def _one(self, found_by: Filter, order: Order) -> Version | None:
        found = self._collections.find_one(VERSIONS, found_by, order=order, fields=WITHOUT_RECORD)
        return None if found is None else version_of(found)

    def _some(self, found_by: Filter, order: Order, limit: int = 0) -> tuple[Version, ...]:
        found = self._collections.find(
            VERSIONS, found_by, order=order, limit=limit, fields=WITHOUT_RECORD
        )
        return tuple(version_of(each) for each in found)


def _key(version: Version) -> Filter:
    return {"model": version.model, "version": version.version}
