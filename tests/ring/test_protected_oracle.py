"""Checks of protected storms, each with what it is for; one that finds nothing proves nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.digest import digest_of
from fedbus.encryption.encrypt import decrypted_slots, encrypted_slots
from fedbus.model.blob import encode
from fedbus.model.layout import Layout
from fedbus.mqtt.bus import Packet
from fedbus.secure_aggregation.masked_blob import MaskedHeader, masked_blob
from fedbus.simulation.encrypted_records import check_encrypted_records
from fedbus.simulation.masked_records import check_masked_records
from fedbus.simulation.masked_sums import check_masked_sums
from fedbus.simulation.stored_records import EntryLike, RecordsError, RoundLike, read_spec
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.messages import Offer, Step, StepReply
from fedbus.wire.round_records import RoundRecord
from fedbus.wire.step_contents import SharesRevealed, UnmaskRequest
from fedbus_repository.stores.sqlite.database import DATABASE
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.ring.masked_storm import MASKED
from tests.ring.protected_storm import JOBS, ProtectedRun, check_protected, finish, protected_run
from tests.sample_encryption import sample_key


@pytest.fixture(params=["masked"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProtectedRun]:
    """Run a job of one round without faults."""
    made = protected_run(tmp_path, 1, JOBS[request.param])
    with closing(made.cluster):
        finish(made, rounds=1)
        yield made


of_private = pytest.mark.parametrize("run", ["masked-dp"], indirect=True)
of_encrypted = pytest.mark.parametrize("run", ["encrypted"], indirect=True)
of_both = pytest.mark.parametrize("run", ["masked", "encrypted"], indirect=True)


@dataclass(frozen=True)
class FewerContributors:
    """A store whose records have one contributor less than is in their sums."""

    store: SqliteStore

    def history(self) -> Iterator[RoundLike]:
        """Drop the first contributor of each record."""
        for each in self.store.history():
            record = each.record
            if record is None:
                yield each
            else:
                yield replace(each, record=replace(record, contributors=record.contributors[1:]))

    def open_blob(self, digest: str, /) -> Any:  # noqa: ANN401 - of the store
        """Open a blob of the store."""
        return self.store.open_blob(digest)

    def ledger(self, job: str, /) -> tuple[EntryLike, ...]:
        """Return the store's."""
        return tuple(self.store.ledger(job))


def layout_of(store: SqliteStore) -> Layout:
    """Return the model's layout."""
    return Layout.read(read_spec(store, next(iter(store.history())).version).layout)


def record_of(store: SqliteStore) -> RoundRecord:
    """Return the record of the round."""
    (record,) = [each.record for each in store.history() if each.record is not None]
    return record


def packet_of(run: ProtectedRun, level: str) -> tuple[str, Packet]:
    """Return the last packet of this kind, and its sender."""
    for payload, source in reversed(run.releases.seen.items()):
        host, _, topic = source.partition(" on ")
        if topic.endswith(f"/{level}"):
            return host, Packet(topic, payload)
    raise AssertionError(level)


def found(run: ProtectedRun) -> str:
    """Return what the checks of a run find."""
    with pytest.raises((AssertionError, RecordsError)) as raised:
        check_protected(run)
    return str(raised.value)


def test_a_masked_sum_with_one_more_is_found(run: ProtectedRun) -> None:
    """One step of one number is far below what the tolerance of other oracles allows."""
    with run.cluster.store() as store:
        masked = run.cluster.records.masked_of("job-1")
        one = record_of(store).contributors[0]
        name = one.agent, one.task, one.update
        for at in (0, 100, -1):
            numbers = masked[name].numbers.copy()
            numbers[at] += 1
            changed = {**masked, name: replace(masked[name], numbers=numbers)}
            with pytest.raises(RecordsError, match="is not the base and the exact mean"):
                check_masked_sums(store, changed, job="job-1")


@pytest.mark.parametrize("run", ["masked-fedadam"], indirect=True)
def test_a_masked_sum_with_one_more_is_found_behind_a_server_optimizer(run: ProtectedRun) -> None:
    """Its state arrays, which are not exact, are near enough."""
    with run.cluster.store() as store:
        masked = run.cluster.records.masked_of("job-1")
        one = record_of(store).contributors[0]
        name = one.agent, one.task, one.update
        numbers = masked[name].numbers.copy()
        numbers[100] += 1
        changed = {**masked, name: replace(masked[name], numbers=numbers)}
        with pytest.raises(RecordsError):
            check_masked_records(store, changed, job="job-1")


@of_encrypted
def test_an_encrypted_sum_with_one_more_is_found(run: ProtectedRun) -> None:
    """The update is encrypted again with one number that is greater by one."""
    key, sealed = sample_key(), run.cluster.sealed
    with run.cluster.store() as store:
        one, layout = record_of(store).contributors[0], layout_of(store)
        header, rows = decrypted_slots(sealed[one.update], layout, key)
        rows[0, 1] += 1
        changed = {**sealed, one.update: bytes(encrypted_slots(header, rows, key))}
        with pytest.raises(RecordsError, match="is not the sum of what its contributors encrypted"):
            check_encrypted_records(store, changed, key)


def test_a_contributor_that_a_record_lacks_is_found(run: ProtectedRun) -> None:
    """Its update is in the sum."""
    with run.cluster.store() as store:
        masked = run.cluster.records.masked_of("job-1")
        with pytest.raises(RecordsError, match="the exact mean of what its 4 contributors masked"):
            check_masked_sums(FewerContributors(store), masked, job="job-1")


@of_encrypted
def test_a_contributor_that_an_encrypted_record_lacks_is_found(run: ProtectedRun) -> None:
    """The header of its version counts one more."""
    with run.cluster.store() as store:
        fewer = FewerContributors(store)
        with pytest.raises(RecordsError, match="is the sum of 5 updates"):
            check_encrypted_records(fewer, run.cluster.sealed, sample_key())


@of_private
def test_an_entry_that_the_ledger_lacks_is_found(run: ProtectedRun) -> None:
    """The sum was opened, and no ε counts it."""
    with closing(sqlite3.connect(run.cluster.folder / "repository" / DATABASE)) as db, db:
        assert db.execute("DELETE FROM ledger").rowcount == 1
    assert "has no ledger entry for its task" in found(run)


@of_private
def test_a_sum_that_is_opened_for_others_than_the_ledger_has_is_found(run: ProtectedRun) -> None:
    """Its agents are the survivors that the collector names."""
    host, packet = packet_of(run, "step")
    step = codec.unpack(Step, packet.payload)
    request = codec.unpack(UnmaskRequest, step.content)
    fewer = codec.pack(replace(request, survivors=request.survivors[1:]))
    run.releases.record(host, replace(packet, payload=codec.pack(replace(step, content=fewer))))
    assert "opened without its ledger entry: ['task 1 of job job-1']" in found(run)


def test_both_shares_of_an_agent_are_found(run: ProtectedRun) -> None:
    """In one answer, or in two."""
    host, packet = packet_of(run, "step_reply")
    reply = codec.unpack(StepReply, packet.payload)
    revealed = codec.unpack(SharesRevealed, reply.content)
    assert revealed.survived
    both = codec.pack(replace(revealed, dropped=revealed.survived[:1]))
    run.releases.record(host, replace(packet, payload=codec.pack(replace(reply, content=both))))
    run.releases.masked.answers.clear()
    assert f"{host} revealed both shares of ['{revealed.survived[0].agent}']" in found(run)


def test_two_answers_to_a_step_are_found(run: ProtectedRun) -> None:
    """An agent that forgot its first answer would give another one."""
    host, packet = packet_of(run, "step_reply")
    reply = codec.unpack(StepReply, packet.payload)
    revealed = codec.unpack(SharesRevealed, reply.content)
    fewer = codec.pack(replace(revealed, survived=revealed.survived[1:]))
    run.releases.record(host, replace(packet, payload=codec.pack(replace(reply, content=fewer))))
    assert "two ways" in found(run)


def test_two_masked_updates_of_a_task_are_found(run: ProtectedRun) -> None:
    """Their difference could be read."""
    host, packet = packet_of(run, "offer")
    offer = codec.unpack(Offer, packet.payload)
    other = replace(offer, update=BlobRef(digest=digest_of(b"other"), size=5))
    run.releases.record(host, replace(packet, payload=codec.pack(other)))
    assert "two masked updates" in found(run)


@of_both
@pytest.mark.parametrize("encoding", ["delta", "plain"])
def test_a_readable_blob_on_the_bus_is_found(run: ProtectedRun, encoding: str) -> None:
    """Whatever its numbers are."""
    with run.cluster.store() as store:
        layout = layout_of(store)
    zeros = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in layout.tensors}
    blob = b"serial" + bytes(encode(zeros, layout, encoding))
    run.releases.record("agent.a1", Packet("fedbus/link/agent.a1/collector.1/chunk", blob))
    assert f"a readable {encoding}" in found(run)


@of_both
def test_a_readable_update_in_an_outbox_is_found(run: ProtectedRun) -> None:
    """Also if nothing sends it."""
    with run.cluster.store() as store:
        layout = layout_of(store)
    zeros = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in layout.tensors}
    path = run.cluster.folder / "agent.a2" / "job-1~1.update"
    path.write_bytes(bytes(encode(zeros, layout, "delta")))
    assert "a readable delta: agent.a2 in job-1~1.update" in found(run)


@of_both
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_numbers_of_an_update_are_found(run: ProtectedRun, dtype: str) -> None:
    """In any message, without a header."""
    differences = next(iter(run.cluster.records.trained.values()))
    numbers = differences["w"].astype(dtype).tobytes()
    run.releases.record("agent.a1", Packet("fedbus/nodes/agent.a1/other", b"1234567" + numbers))
    assert "can be read: agent.a1 on fedbus/nodes/agent.a1/other" in found(run)


def test_an_update_without_masks_is_found(run: ProtectedRun) -> None:
    """It has the header of a masked one."""
    update = next(iter(run.cluster.records.masked_of("job-1").values()))
    bits = int(MASKED["secure-aggregation"]["bits"])
    header = MaskedHeader(
        layout="0" * 64,
        job="job-1",
        round=1,
        task=1,
        ranges="0" * 64,
        bits=bits,
        modulus_bits=bits + 3,
        max_examples=update.max_examples,
        weight=1,
    )
    blob = bytes(masked_blob(update.numbers, header, ()))
    run.releases.record("agent.a1", Packet("fedbus/link/agent.a1/collector.1/chunk", blob))
    assert "can be read: agent.a1" in found(run)


@of_both
def test_a_job_that_does_not_finish_is_found(run: ProtectedRun) -> None:
    """Its last state says why."""
    states = run.cluster.states["job-1"]
    states.append(replace(states[-1], phase="failed", reason="no agents"))
    assert "no agents" in found(run)
