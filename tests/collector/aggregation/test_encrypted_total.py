"""Sums of encrypted updates: only updates of the plan are added, and the sum is exact."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.blobs.spool import Spools
from fedbus.digest import digest_of
from fedbus.encryption.ciphertext_sums import SumProcess
from fedbus.encryption.encrypt import decrypt_version, encrypt_update
from fedbus.encryption.encrypted_blob import EncryptedHeader, encrypted_header_bytes
from fedbus.errors import EncryptionError, StoreError
from fedbus.plugins import UpdateFacts
from fedbus.plugins.collector_part_calls import AggregatorCalls
from fedbus.plugins.part_caller import PartCaller
from fedbus.simulation.in_process_sums import InProcessSums
from fedbus.strategies.aggregation.mean import Mean
from fedbus.wire.blobs import EncryptedVersion
from fedbus_collector.aggregation.encrypted_total import EncryptedTotal
from fedbus_collector.aggregation.tensor_runs import UpdateRuns
from fedbus_collector.aggregation.verification import ArrivedUpdate, UpdateChecks
from fedbus_collector.rounds.encrypted_plan import encryption_of_new_version, planned_update
from tests.collector.harness import BASE, LAYOUT, A, B, C, arrays, plan, version
from tests.sample_encryption import sample_key, sample_terms, save_key

PLAN = plan(ranges=(0, 1), max_examples=20)
CHECKS = UpdateChecks(
    UpdateRuns.of(LAYOUT), AggregatorCalls(Mean(), PartCaller("aggregator", "mean"))
)
SPOOLS = Spools(1 << 22)


def planned() -> EncryptedHeader:
    """Return the header that the plan asks for."""
    return planned_update(PLAN, sample_terms(), LAYOUT)


def update_blob(value: float, examples: int, header: EncryptedHeader | None = None) -> bytearray:
    """Encrypt an update, every number made of one value."""
    rng = np.random.default_rng(7)
    return encrypt_update(arrays(value), LAYOUT, header or planned(), examples, sample_key(), rng)


def arrived(agent: str, blob: bytes | bytearray, examples: int) -> ArrivedUpdate:
    """Put an update into a spool."""
    spool = SPOOLS.make(len(blob))
    spool.write(0, bytes(blob))
    return ArrivedUpdate(UpdateFacts(agent=agent, examples=examples), digest_of(blob), spool)


@pytest.fixture
def total(tmp_path: Path) -> Iterator[EncryptedTotal]:
    """Make an empty total."""
    made = EncryptedTotal(CHECKS, planned(), InProcessSums(sample_key().public).add, tmp_path)
    yield made
    made.close()
    assert not list(tmp_path.iterdir())


def written(total: EncryptedTotal, *agents: str) -> bytes:
    """Return the new version."""
    out = SPOOLS.make(total.size)
    used = total.write(agents, out)
    assert used.updates is not None
    assert sum(used.updates.values()) == pytest.approx(1)
    return bytes(out.read(0, out.size))


def test_the_sum_decrypts_to_the_weighted_mean(total: EncryptedTotal) -> None:
    """The weights are the examples, 20 at most; every agent's numbers are rounded by themselves."""
    given = [arrived(A, update_blob(0.5, 10), 10), arrived(B, update_blob(-0.25, 20), 20)]
    assert total.take(given) == {}
    assert total.take([arrived(C, update_blob(0.125, 1), 1)]) == {}
    assert [facts.agent for facts in total.facts((C, A))] == [C, A]
    out = SPOOLS.make(total.size)
    used = total.write((A, B, C), out)
    assert used.updates == {A: 10 / 31, B: 20 / 31, C: 1 / 31}
    mean = decrypt_version(bytes(out.read(0, out.size)), LAYOUT, sample_key())
    expected = (0.5 * 10 - 0.25 * 20 + 0.125) / 31
    assert mean["w"] == pytest.approx(np.full((2, 3), expected), abs=0.01)
    assert mean["b"] == pytest.approx(np.full(3, 2 * expected), abs=0.02)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"anchor": "f" * 64}, "the anchor of the encrypted blob is ffff"),
        ({"ranges": (0, 2)}, "ranges of the encrypted blob is (0, 2), and (0, 1) is expected"),
        ({"key": "e" * 64}, "the key of the encrypted blob is eeee"),
        ({"parameters": "d" * 64}, "the digest of the parameters of the encrypted blob is dddd"),
        ({"bits": 12}, "bits of the encrypted blob is 12, and 11 is expected"),
        ({"max_examples": 21}, "max_examples of the encrypted blob is 21, and 20 is expected"),
        (
            {"count": 2},
            "the update of 1 agent with 10 examples, as offered, got 2 with 10",
        ),
        ({"weight": 20}, "as offered, got 1 with 20"),
    ],
)
def test_an_update_with_another_header_is_refused(
    total: EncryptedTotal,
    changes: dict[str, Any],  # of a header
    reason: str,
) -> None:
    """TenSEAL would add it, and the sum would not show which agent had made it useless."""
    blob = update_blob(0.5, 10)
    header = planned().with_sum(1, 10)
    start = len(encrypted_header_bytes(header))
    lie = encrypted_header_bytes(replace(header, **changes)) + blob[start:]
    refused = total.take([arrived(A, lie, 10), arrived(B, update_blob(0.5, 10), 10)])
    assert reason in refused.pop(A)
    assert not refused
    assert decrypt_version(written(total, B), LAYOUT, sample_key())


def test_damaged_bytes_and_other_digests_are_refused(total: EncryptedTotal) -> None:
    """The sum stays as it was, so the round goes on without that agent."""
    good = arrived(A, update_blob(0.5, 10), 10)
    assert total.take([good]) == {}
    blob = update_blob(0.25, 10)
    cut, other = arrived(B, blob[:-9], 10), arrived(C, blob, 10)
    other.spool.write(len(blob) - 5, b"\0")
    refused = total.take([cut, other, good])
    assert refused[B].endswith("ciphertext 1 of 1 is cut off")
    assert refused[C] == "the update's bytes are not those of its digest"
    assert refused[A] == "an update of this agent counts already"
    mean = decrypt_version(written(total, A), LAYOUT, sample_key())
    assert mean["w"] == pytest.approx(np.full((2, 3), 0.5), abs=0.01)


def test_a_sum_of_other_agents_is_no_version(total: EncryptedTotal) -> None:
    """The record would name contributors that are not in it."""
    assert total.size == 0
    with pytest.raises(EncryptionError, match="a sum of 0 updates, where 0 count"):
        total.write((), SPOOLS.make(1))
    total.take([arrived(A, update_blob(0.5, 10), 10)])
    with pytest.raises(EncryptionError, match="a sum of 1 updates, where 2 count"):
        total.write((A, B), SPOOLS.make(total.size))


def test_a_full_disk_fails_the_round_and_refuses_no_agent(tmp_path: Path) -> None:
    """It is not the agent's fault."""
    place = tmp_path / "missing"
    total = EncryptedTotal(CHECKS, planned(), InProcessSums(sample_key().public).add, place)
    with pytest.raises(StoreError, match="missing"):
        total.take([arrived(A, update_blob(0.5, 10), 10)])


def test_the_process_of_a_collector_adds_the_same(tmp_path: Path) -> None:
    """A real one: it reads the public key file only."""
    _, public = save_key(tmp_path)
    sums = SumProcess(public)
    total = EncryptedTotal(CHECKS, planned(), sums.add, tmp_path)
    try:
        blob = update_blob(0.5, 10)
        damaged = blob[:-40] + bytes(byte ^ 255 for byte in blob[-40:])
        refused = total.take([arrived(A, blob, 10), arrived(B, damaged, 10)])
        assert A not in refused
        agents = (A,) if B in refused else (A, B)
        assert len(written(total, *agents)) == total.size
    finally:
        total.close()
        sums.close()


def test_the_anchor_stays_from_the_plain_base_on() -> None:
    """Each version stands alone: the key, the anchor and one blob are enough to read it."""
    terms, base = sample_terms(), version(3)
    first = encryption_of_new_version(base, terms)
    assert (first.anchor, first.anchor_weights.digest) == (3, digest_of(BASE))
    second = encryption_of_new_version(replace(version(4), encryption=first), terms)
    assert isinstance(second, EncryptedVersion)
    assert second == first


def test_the_aggregator_may_refuse_an_update() -> None:
    """As it does in a round of readable updates."""

    class Picky:
        """Refuses everyone."""

        def weight(self, facts: UpdateFacts) -> float:
            """Refuse."""
            del facts
            return 1.0

        def refuses(self, facts: UpdateFacts) -> str:
            """Return why."""
            return f"not {facts.agent}"

    calls = AggregatorCalls(Picky(), PartCaller("aggregator", "picky"))
    total = EncryptedTotal(
        replace(CHECKS, aggregator=calls), planned(), InProcessSums(sample_key().public).add
    )
    assert total.take([arrived(A, b"", 10)]) == {A: f"not {A}"}
    total.close()
