"""Documents of a MongoDB store from and to the records of a dump. Pure."""

from typing import Any

from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.round_records import Plan
from fedbus_repository.stores.dumped_records import DumpedJob
from fedbus_repository.stores.mongo.documents import (
    Document,
    end_of,
    strategy_of,
    version_document,
)
from fedbus_repository.stores.records import HistoryEntry


def dumped_job_of(document: Document) -> DumpedJob:
    """Return all that a job's document has, but for an entry that its ledger may lack."""
    return DumpedJob(
        job=document["_id"],
        model=document["model"],
        base=document["base"],
        file=bytes(document["file"]),
        secret=bytes(document["secret"]),
        submitted=document["created"],
        ended=end_of(document),
        plan=codec.unpack(Plan, document["plan"]) if "plan" in document else None,
        continues_state=bool(document["continues"]),
        forgotten=bool(document["forgotten"]),
        strategy=strategy_of(document),
        noise_key=document.get("noise_key"),
        origin=document.get("origin"),
        unsettled=document.get("unsettled"),
    )


def dumped_job_document(job: DumpedJob, number: int) -> dict[str, Any]:
    """Return the document of a job that another store had, the `number`-th of the dump."""
    end = job.ended
    document: dict[str, Any] = {
        "_id": job.job,
        "number": number,
        "model": job.model,
        "phase": "running" if end is None else end.phase,
        "base": job.base,
        "file": job.file,
        "secret": job.secret,
        "created": job.submitted,
        "continues": job.continues_state,
        "forgotten": job.forgotten,
        "task": 0 if job.plan is None else job.plan.task,
    }
    if end is None:
        document["running"] = job.model
    else:
        document |= {"reason": end.reason, "ended": end.at}
    if job.plan is not None:
        document["plan"] = codec.pack(job.plan)
    if job.strategy is not None:
        document["strategy"] = codec.pack(job.strategy)
    stated = {
        "noise_key": job.noise_key,
        "origin": job.origin,
        "unsettled": job.unsettled,
    }
    return document | {name: value for name, value in stated.items() if value is not None}


def dumped_version_document(entry: HistoryEntry, files: tuple[BlobRef, ...]) -> dict[str, Any]:
    """Return the document of a version; `files` are its spec and what that names, if pushed."""
    document = version_document(entry.version, entry.record, files)
    return document if entry.version.kept else document | {"blobs": []}
