# ruff: noqa: D102 - the methods are documented in Store
"""Decisions about versions and their blobs: with those about all other records, a whole `Store`.

Slow work (hashing and storing a blob) is done before a `writing` block, so that these are short.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from fedbus.core.blob_io import BlobSource
from fedbus.wire.blobs import BlobRef
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.messages import PushModel
from fedbus.wire.round_records import RoundRecord
from fedbus_repository.stores import commit_rules, rules
from fedbus_repository.stores.base import Upload
from fedbus_repository.stores.blob_storage import BlobStorage
from fedbus_repository.stores.damaged_records import DamagedModel, DamagedRecordError
from fedbus_repository.stores.derived_versions import derivation_fault, is_same_push
from fedbus_repository.stores.document_decisions import DocumentDecisions
from fedbus_repository.stores.ledger_decisions import Accountant, unknown_model
from fedbus_repository.stores.ledger_reading import entry_of_round, jobs_since_push
from fedbus_repository.stores.model_epsilon import is_used
from fedbus_repository.stores.name_decisions import NameDecisions, names_of
from fedbus_repository.stores.new_versions import pushed_version, version_of_round
from fedbus_repository.stores.record_database import RecordDatabase, Records
from fedbus_repository.stores.records import (
    HistoryEntry,
    ModelView,
    StoreRefusal,
    Verdict,
    Version,
    blobs_of,
)
from fedbus_repository.stores.retention import best, needed_for, outdated, retained


class RecordStore(NameDecisions, DocumentDecisions):
    """A `Store` on a database and a place for blobs, which it closes.

    At its start it deletes blobs that no record references, unless the database `is_new`: beside a
    lost database, blobs are all that is left.

    Args:
        database: The records.
        blobs: The blobs.
        is_new: The database did not exist before.
        keep: Number of versions of a model that keep their weights; see retention.py.
        secret: Returns the secret of a new job.
        now: Clock that timestamps jobs and versions.
        accountant: Computes what a job has spent.
    """

    def __init__(  # noqa: PLR0913 - what a store depends on
        self,
        database: RecordDatabase,
        blobs: BlobStorage,
        *,
        is_new: bool,
        keep: int,
        secret: Callable[[], bytes],
        now: Callable[[], Timestamp],
        accountant: Accountant,
    ) -> None:
        super().__init__(database, blobs, secret, now, accountant)
        self._keep = keep
        if not is_new:
            with database.reading("sweeping blobs") as records:
                blobs.sweep(records.referenced_digests())

    def close(self) -> None:
        self._blobs.close()
        self._database.close()

    def check_commit(self, record: RoundRecord) -> HistoryEntry | StoreRefusal | None:
        with self._database.reading("checking a commit") as records:
            return _commit_answer(records, record)

    def commit(self, record: RoundRecord, weights: BlobRef) -> HistoryEntry | StoreRefusal:
        with self._database.lock:  # until old blobs are deleted, so that no push references one
            with self._database.writing(
                f"committing round {record.round} of {record.job}"
            ) as records:
                answer = _commit_answer(records, record)
                if answer is not None:
                    return answer
                for blob in blobs_of(weights, record):
                    self._blobs.require(blob, f"blob {blob.digest[:12]}")
                made = version_of_round(record, weights, self._now())
                records.insert_version(made, record, ())
                named = names_of(records, made.model).kept()
                old = outdated(records.with_weights(made.model), self._keep, named)
                for each in old:  # the newest first: an encrypted version before its anchor
                    records.mark_deleted(each)
                digests = {blob.digest for each in old for blob in each.blobs}
                deleted = records.unreferenced(digests)
            self._blobs.delete(deleted)
        return HistoryEntry(version=made, record=record)

    def look_up(self, job: str, agent: str, task: int) -> Verdict:
        with self._database.reading(f"looking up an update of {agent}") as records:
            found = records.job(job)
            if found is None:
                return "unknown"
            return rules.verdict(
                task,
                counted=(agent, task) in records.counted_updates(job, task),
                ended=found.ended is not None,
                plan=found.plan,
                rounds=found.rounds,
            )

    def check_push(self, message: PushModel) -> Version | StoreRefusal | None:
        with self._database.reading(f"checking a push of model {message.model}") as records:
            return _push_answer(records, message)

    def push(self, message: PushModel, files: Iterable[BlobRef]) -> Version | StoreRefusal:
        with self._database.writing(f"storing a version of model {message.model}") as records:
            answer = _push_answer(records, message)
            if answer is not None:
                return answer
            spec_files = (message.spec, *files)
            for blob in (message.weights, *spec_files):
                self._blobs.require(blob, f"blob {blob.digest[:12]}")
            model, derived = message.model, message.derived
            source = None if derived is None else records.version(model, derived.version)
            made = pushed_version(message, records.latest(model), source, self._now())
            records.insert_version(made, None, spec_files)
            return made

    def latest(self) -> tuple[Version, ...]:
        found = self.latest_or_damage().values()
        return tuple(each for each in found if isinstance(each, Version))

    def latest_or_damage(self) -> Mapping[str, Version | DamagedModel]:
        with (
            suppress(DamagedRecordError),
            self._database.reading("listing models") as records,
        ):
            return {each.model: each for each in records.latest_of_all()}
        with self._database.reading("listing models") as records:
            models = records.models()
        return {model: self._latest_or_damage(model) for model in models}

    def _latest_or_damage(self, model: str) -> Version | DamagedModel:
        try:
            with self._database.reading(f"reading the latest version of model {model}") as records:
                found = records.latest(model)
                assert found is not None  # noqa: S101 - no version is ever removed
                return found
        except DamagedRecordError as error:
            return DamagedModel(str(error))

    def show(
        self,
        model: str,
        version: int | None,
        limit: int,
        before: int | None = None,
        *,
        name: str | None = None,
    ) -> ModelView | StoreRefusal:
        with self._database.reading(f"showing model {model}") as records:
            latest = records.latest(model)
            if latest is None:
                return unknown_model(records, model)
            names = names_of(records, model)
            if name is not None:
                named = names.version_of(name)
                if isinstance(named, StoreRefusal):
                    return named
                version = named
            found = latest if version is None else records.version(model, version)
            if found is None:
                return StoreRefusal(rules.unknown_version(latest, version), kind="unknown")
            kept = records.with_weights(model)
            top = best(kept)
            return ModelView(
                version=found,
                history=records.newest(model, limit, before),
                versions=latest.version,
                kept=tuple(retained(kept, names.kept())),
                best=None if top is None else top.version,
                aliases=names.aliases,
                tags=names.tags,
            )

    def record(self, version: Version) -> RoundRecord | None:
        if version.job is None:
            return None
        with self._database.reading(f"reading a record of model {version.model}") as records:
            found = records.committed_round(version.job, version.round)
            return None if found is None else found.record

    def history(self) -> list[HistoryEntry]:
        with self._database.reading("reading the history") as records:
            return list(records.history())

    def holds(self, blob: BlobRef) -> bool:
        return self._blobs.holds(blob)

    def upload(self, blob: BlobRef) -> Upload:
        return self._blobs.upload(blob)

    def receive(self, most_bytes: int, digest: str | None = None) -> Upload:
        return self._blobs.receive(most_bytes, digest)

    def delete_weights(self, model: str, version: int) -> StoreRefusal | None:
        with self._database.lock:  # until its blobs are deleted, so that no push references one
            with self._database.writing(f"deleting weights of model {model}") as records:
                kept = records.with_weights(model)
                found = next((each for each in kept if each.version == version), None)
                if found is None:
                    reason = f"model {model} has no weights of version {version}"
                    return StoreRefusal(reason, kind="unknown")
                latest = records.latest(model)
                named = names_of(records, model).kept()
                if latest is None or (reason := needed_for(found, latest.version, kept, named)):
                    return StoreRefusal(f"version {version} of model {model} is kept: {reason}")
                records.mark_deleted(found)
                deleted = records.unreferenced(blob.digest for blob in found.blobs)
            self._blobs.delete(deleted)
        return None

    def delete_unreferenced(self, blobs: Iterable[BlobRef]) -> None:
        with self._database.reading("deleting blobs") as records:
            self._blobs.delete(records.unreferenced(blob.digest for blob in blobs))

    def open_blob(self, digest: str, /) -> BlobSource | None:
        return self._blobs.open(digest)

    def opened_blob(self, digest: str, /) -> BlobSource | None:
        return self._blobs.opened(digest)


def _commit_answer(records: Records, record: RoundRecord) -> HistoryEntry | StoreRefusal | None:
    """Return the answer to a commit; None: it may be inserted."""
    committed = records.committed_round(record.job, record.round)
    if committed is not None:
        return committed
    job = records.job(record.job)
    if job is None:
        return StoreRefusal(rules.unknown_job(record.job))
    context = commit_rules.CommitContext(
        model=job.model,
        ended=job.ended,
        plan=job.plan,
        latest=records.latest(job.model) or job.base,
        strategy=job.latest.strategy if job.rounds else None,
        submitted=job.strategy,
        entry=entry_of_round(records, job, record.task),
        counted=records.counted_updates(record.job, record.task),
    )
    reason = commit_rules.commit_fault(record, context)
    return None if reason is None else StoreRefusal(reason)


def _push_answer(records: Records, message: PushModel) -> Version | StoreRefusal | None:
    """Return the answer to a push; None: it may be inserted."""
    model, derived = message.model, message.derived
    latest = records.latest(model)
    if latest is not None and is_same_push(latest, message):
        begins_again = message.reset and derived is None
        if not (begins_again and is_used(jobs_since_push(records, model))):
            return latest
    job = records.running_job(model)
    if job is not None:
        return StoreRefusal(rules.model_in_training(model, job))
    source = None if derived is None else records.version(model, derived.version)
    pushed = records.last_pushed(model)
    if fault := derivation_fault(message, latest, source, pushed):
        return StoreRefusal(fault)
    trained = latest is not None and (latest.job is not None or latest.derived is not None)
    if latest is not None and trained and derived is None and not message.reset:
        return StoreRefusal(rules.would_replace_trained(latest))
    return None
