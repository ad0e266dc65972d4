"""Documents of the MongoDB store: records to documents and back. Pure.

Plans, round records and other parts are in their wire encoding (msgpack), and read through the
codec, so an old document stays readable for as long as an old message does. What queries compare,
and what a person looks for with `mongosh`, are fields beside them. Truth values are read through
`bool`: servers with MongoDB's protocol on another database may return 0 and 1.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, CompressedBlob, EncryptedVersion
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.messages.model_requests import Derivation
from fedbus.wire.privacy import LedgerEntry, PrivacySpent
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.strategies import Strategy, StrategyState
from fedbus_repository.stores.damaged_records import number_of, of_type
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.record_database import NewJob
from fedbus_repository.stores.records import HistoryEntry, JobEnd, Lease, StoredJob, Version

Document: TypeAlias = Mapping[str, Any]

PACKED_PARTS: Final = {
    "strategy": Strategy,
    "state": StrategyState,
    "privacy": PrivacySpent,
    "encryption": EncryptedVersion,
    "thin": CompressedBlob,
    "derived": Derivation,
    "energy": EnergyUsed,
}
"""Fields of `Version` in the wire encoding."""

WITHOUT_RECORD: Final = {"record": 0, "counted": 0}
"""Projection of what a `Version` needs: a record names every agent of its round."""


def version_document(
    made: Version, record: RoundRecord | None, files: tuple[BlobRef, ...]
) -> dict[str, Any]:
    """Return the document of a version.

    A pushed one has no `job` and no `round`, so that a sparse index on both holds rounds alone.
    `blobs` are referenced until the version is outdated, `files` permanently.
    """
    document: dict[str, Any] = {
        "model": made.model,
        "version": made.version,
        "parent": made.parent,
        "weights": {"digest": made.weights.digest, "size": made.weights.size},
        "spec": {"digest": made.spec.digest, "size": made.spec.size},
        "contributors": made.contributors,
        "metrics": _listed(made.metrics),
        "evaluated": made.evaluated,
        "pinned": made.pinned,
        "kept": made.kept,
        "created": made.at,
        "blobs": sorted({blob.digest for blob in made.blobs}),
        "weights_pushed": made.job is None and made.derived is None,
        "base": made.base,
        "begins_branch": made.base != made.version - 1,
    }
    if files:
        document["files"] = sorted({file.digest for file in files})
    for name in PACKED_PARTS:
        if (part := getattr(made, name)) is not None:
            document[name] = codec.pack(part)
    if record is not None:
        document |= {
            "job": record.job,
            "round": record.round,
            "task": record.task,
            "counted": [each.agent for each in record.contributors],
            "record": codec.pack(record),
        }
    return document


def version_of(document: Document) -> Version:
    """Return the version of a document."""
    return Version(
        model=of_type(str, document["model"], "model"),
        version=of_type(int, document["version"], "version"),
        parent=document["parent"],
        weights=_blob_ref(document, "weights"),
        spec=_blob_ref(document, "spec"),
        job=document.get("job"),
        round=document.get("round", 0),
        contributors=of_type(int, document["contributors"], "contributors"),
        metrics={
            of_type(str, each["name"], "metrics"): number_of(each["value"], "metrics")
            for each in document["metrics"]
        },
        evaluated=bool(document["evaluated"]),
        pinned=bool(document["pinned"]),
        kept=bool(document["kept"]),
        at=document["created"],
        **{
            name: codec.unpack(kind, document[name])
            for name, kind in PACKED_PARTS.items()
            if name in document
        },
    )


def history_entry_of(document: Document) -> HistoryEntry:
    """Return the version of a document with the record of its round."""
    packed = document.get("record")
    record = None if packed is None else codec.unpack(RoundRecord, packed)
    return HistoryEntry(version=version_of(document), record=record)


def evaluation_change(evaluated: Version) -> dict[str, Any]:
    """Return the fields of a version that an evaluation sets."""
    change: dict[str, Any] = {"metrics": _listed(evaluated.metrics), "evaluated": True}
    if evaluated.energy is not None:
        change["energy"] = codec.pack(evaluated.energy)
    return change


def lease_of(document: Document) -> Lease:
    """Return the lease of a document."""
    return Lease(
        holder=document["holder"], incarnation=document["incarnation"], epoch=document["epoch"]
    )


def job_document(new: NewJob, number: int) -> dict[str, Any]:
    """Return the document of a job, the `number`-th of the store.

    `running` is the model while the job runs, and is then removed: the sparse unique index on it
    allows one running job of a model.
    """
    document: dict[str, Any] = {
        "_id": new.job,
        "number": number,
        "model": new.base.model,
        "running": new.base.model,
        "phase": "running",
        "base": new.base.version,
        "file": new.file,
        "secret": new.secret,
        "created": new.at,
        "continues": new.continues_state,
        "forgotten": False,
        "task": 0,
    }
    if new.strategy is not None:
        document["strategy"] = codec.pack(new.strategy)
    if new.origin is not None:
        document |= {"origin": new.origin.digest, "unsettled": new.epoch}
    return document


def stored_job_of(document: Document, base: Version, last: Version | None) -> StoredJob:
    """Return the job of a document; `last` is the version of its last committed round."""
    return StoredJob(
        job=document["_id"],
        model=document["model"],
        file=of_type(bytes, document["file"], "file"),
        secret=of_type(bytes, document["secret"], "secret"),
        ended=end_of(document),
        base=base,
        latest=last or base,
        rounds=0 if last is None else last.round,
        plan=codec.unpack(Plan, document["plan"]) if "plan" in document else None,
        submitted=document["created"],
        continues_state=bool(document["continues"]),
        forgotten=bool(document["forgotten"]),
        strategy=strategy_of(document),
        noise_key=document.get("noise_key"),
    )


def strategy_of(document: Document) -> Strategy | None:
    """Return the strategy that a job's document was stored with."""
    packed = document.get("strategy")
    return None if packed is None else codec.unpack(Strategy, packed)


def end_of(document: Document) -> JobEnd | None:
    """Return the end of a job; None while it runs."""
    if document["phase"] == "running":
        return None
    return JobEnd(
        job=document["_id"],
        phase=document["phase"],
        reason=document["reason"],
        at=document["ended"],
    )


def plan_change(plan: Plan, entered: EntryFacts | None) -> dict[str, Any]:
    """Return the fields of a job that a plan sets; `owed` is what its ledger has to get."""
    change: dict[str, Any] = {"plan": codec.pack(plan), "task": plan.task}
    if entered is not None:
        change["owed"] = _packed_facts(entered) | {"task": entered.entry.task}
    return change


def owed_to(document: Document) -> EntryFacts | None:
    """Return the ledger entry that a job's document has and its ledger may lack."""
    return None if "owed" not in document else facts_of(document["owed"])


def ledger_document(facts: EntryFacts, before: Document | None) -> dict[str, Any]:
    """Return the document of a ledger entry, which follows the job's last one."""
    number, asked = (0, 0) if before is None else (before["number"], before["asked"])
    return _packed_facts(facts) | {
        "job": facts.entry.job,
        "number": number + 1,
        "task": facts.entry.task,
        "asked": asked + len(facts.entry.agents),
    }


def facts_of(document: Document) -> EntryFacts:
    """Return the ledger entry of a document, and what its job had spent with it."""
    return EntryFacts(
        entry=codec.unpack(LedgerEntry, document["entry"]),
        spent=codec.unpack(PrivacySpent, document["spent"]),
    )


def _packed_facts(facts: EntryFacts) -> dict[str, Any]:
    return {"entry": codec.pack(facts.entry), "spent": codec.pack(facts.spent)}


def _blob_ref(document: Document, name: str) -> BlobRef:
    stated = document[name]
    return BlobRef(
        digest=of_type(str, stated["digest"], name), size=of_type(int, stated["size"], name)
    )


def _listed(metrics: Mapping[str, float]) -> list[dict[str, Any]]:
    # A name may have a dot, which queries would read as a path.
    return [{"name": name, "value": value} for name, value in metrics.items()]
