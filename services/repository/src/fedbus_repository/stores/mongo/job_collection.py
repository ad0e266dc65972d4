# ruff: noqa: D102 - the methods are documented in JobRecords
"""The lease and the jobs in MongoDB, each job one document with its plan and its end."""

from typing import Any, Final

from fedbus.wire.round_records import Plan
from fedbus_repository.stores.ledger_records import EntryFacts, JobOnModel
from fedbus_repository.stores.mongo.documents import (
    Document,
    job_document,
    lease_of,
    plan_change,
    stored_job_of,
    strategy_of,
)
from fedbus_repository.stores.mongo.ledger_collection import JOBS, LAST_FIRST, LedgerCollection
from fedbus_repository.stores.mongo.ownership import STATE
from fedbus_repository.stores.mongo.version_collection import VERSIONS, VersionCollection
from fedbus_repository.stores.record_database import MAX_LISTED_ENDED_JOBS, NewJob
from fedbus_repository.stores.records import JobEnd, Lease, Origin, StoredJob
from fedbus_repository.stores.rules import EarlierSubmission

MAX_RUNNING_JOBS: Final = 9000


class JobCollection(VersionCollection, LedgerCollection):
    """`JobRecords` in MongoDB."""

    def lease(self) -> Lease | None:
        found = self._collections.find_one(STATE, {"_id": "lease"})
        return None if found is None else lease_of(found)

    def replace_lease(self, new: Lease) -> None:
        held = self.lease()
        fields = {"holder": new.holder, "incarnation": new.incarnation, "epoch": new.epoch}
        if held is None:
            self._collections.insert(STATE, {"_id": "lease"} | fields)
        else:
            found_by = {"_id": "lease", "epoch": held.epoch}
            self._collections.update(STATE, found_by, {"$set": fields})

    def job(self, name: str) -> StoredJob | None:
        found = self._collections.find_one(JOBS, {"_id": name})
        if found is None:
            return None
        self._settle(found)
        base = self.version(found["model"], found["base"])
        if base is None:  # versions are never deleted
            model, number = found["model"], found["base"]
            raise LookupError(f"job {name}: version {number} of model {model} is missing")
        return stored_job_of(found, base, self.last_of_job(name))

    def newest_of_origin(self, digest: str) -> EarlierSubmission | None:
        found = self._collections.find_one(JOBS, {"origin": digest}, order=LAST_FIRST)
        if found is None:
            return None
        return EarlierSubmission(
            job=found["_id"],
            submitted=found["created"],
            running=found["phase"] == "running",
            settled="unsettled" not in found,
        )

    def running_job(self, model: str) -> str | None:
        found = self._collections.find_one(JOBS, {"running": model}, fields={"_id": 1})
        return None if found is None else str(found["_id"])

    def list_jobs(self) -> tuple[str, ...]:
        running = self._collections.find(
            JOBS,
            {"phase": "running"},
            order=(("_id", 1),),
            limit=MAX_RUNNING_JOBS,
            fields={"_id": 1},
        )
        ended = self._collections.find(
            JOBS,
            {"phase": {"$ne": "running"}, "forgotten": False},
            order=LAST_FIRST,
            limit=MAX_LISTED_ENDED_JOBS,
            fields={"_id": 1},
        )
        return tuple(each["_id"] for each in (*running, *ended))

    def jobs_on(self, model: str, base: int) -> tuple[JobOnModel, ...]:
        found = self._collections.find(
            JOBS,
            {"model": model, "base": {"$gte": base}},
            order=(("number", 1),),
            fields={"phase": 1, "created": 1, "strategy": 1, "owed": 1},
        )
        return tuple(self._job_on_model(each) for each in found)

    def jobs_of(self, model: str, limit: int, before: str | None = None) -> tuple[str, ...]:
        if limit < 1:
            return ()
        found_by: dict[str, Any] = {"model": model}
        if before is not None:
            found_by["number"] = {"$lt": self._own(before, fields={"number": 1})["number"]}
        found = self._collections.find(
            JOBS, found_by, order=LAST_FIRST, limit=limit, fields={"_id": 1}
        )
        return tuple(each["_id"] for each in found)

    def insert_job(self, new: NewJob) -> None:
        last = self._collections.find_one(JOBS, {}, order=LAST_FIRST, fields={"number": 1})
        number = 1 if last is None else last["number"] + 1
        self._collections.insert(JOBS, job_document(new, number))

    def set_origin(self, name: str, epoch: int, origin: Origin) -> None:
        change = {"$set": {"origin": origin.digest, "unsettled": epoch}}
        self._collections.update(JOBS, {"_id": name}, change)

    def set_plan(self, epoch: int, plan: Plan, entered: EntryFacts | None) -> None:
        job = self._own(plan.job, fields={"unsettled": 1, "noise_key": 1, "task": 1})
        change: dict[str, Any] = {"$set": plan_change(plan, entered)} | _settled(job, epoch)
        if plan.noise_key is not None and "noise_key" not in job:
            change["$set"]["noise_key"] = plan.noise_key
        found_by = {"_id": plan.job, "phase": "running", "task": job["task"]}
        self._collections.update(JOBS, found_by, change)
        if entered is not None:
            self._settle_named(plan.job)

    def set_end(self, epoch: int, end: JobEnd) -> None:
        job = self._own(end.job, fields={"unsettled": 1})
        change = _settled(job, epoch)
        change.setdefault("$unset", {})["running"] = ""
        change["$set"] = {"phase": end.phase, "reason": end.reason, "ended": end.at}
        self._collections.update(JOBS, {"_id": end.job, "phase": "running"}, change)

    def set_forgotten(self, name: str) -> None:
        self._collections.update(JOBS, {"_id": name}, {"$set": {"forgotten": True}})

    def _own(self, name: str, fields: dict[str, int]) -> Document:
        found = self._collections.find_one(JOBS, {"_id": name}, fields=fields)
        assert found is not None  # noqa: S101 - jobs are never deleted
        return found

    def _job_on_model(self, document: Document) -> JobOnModel:
        self._settle(document)
        job, fields = document["_id"], {"version": 1}
        first, last = (
            self._collections.find_one(
                VERSIONS, {"job": job}, order=(("round", order),), fields=fields
            )
            for order in (1, -1)
        )
        return JobOnModel(
            job=job,
            running=document["phase"] == "running",
            submitted=document["created"],
            strategy=strategy_of(document),
            rounds=self._collections.count(VERSIONS, {"job": job}),
            first_version=None if first is None else first["version"],
            last_version=None if last is None else last["version"],
        )


def _settled(job: Document, epoch: int) -> dict[str, Any]:
    """Return the change of a job whose controller, of this epoch, has continued."""
    return {"$unset": {"unsettled": ""}} if job.get("unsettled") == epoch else {}
