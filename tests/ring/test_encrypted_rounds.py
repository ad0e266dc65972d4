"""Encrypted rounds of a whole system, whose versions are computed again with the secret key.

Each version is the anchor and the exact mean of the whole numbers that its contributors encrypted.
"""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import choose_parameters
from fedbus.simulation.encrypted_check import check_encrypted
from fedbus.simulation.encrypted_records import check_encrypted_records
from fedbus.simulation.oracle import check_records
from fedbus.simulation.services import COLLECTOR, REPOSITORY
from fedbus.simulation.stored_records import RecordsError
from fedbus.wire.round_records import RoundRecord
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.ring.ring_cluster import RingCluster
from tests.ring.test_private_rounds import kill_at
from tests.sample_encryption import BITS, sample_key

KEY = sample_key()
HOMOMORPHIC = {"homomorphic": {"bits": BITS}}
AEROS: dict[str, Any] = {
    "poly_modulus_degree": 8192,
    "coeff_mod_bit_sizes": (60, 40, 40),
    "scale_bits": 40,
}
"""Parameters of a job of aerOS."""


def content(store: SqliteStore, digest: str) -> bytes:
    """Read a blob."""
    blob = store.open_blob(digest)
    assert blob is not None
    return bytes(blob.read(0, blob.size))


def checked_records(cluster: RingCluster, key: SecretKey = KEY) -> list[RoundRecord]:
    """Compute each version again, and return the records of the encrypted rounds."""
    with cluster.store() as store:
        counts = check_encrypted_records(store, cluster.sealed, key)
        history = list(store.history())
    plain = {each.version.weights for each in history if each.version.encryption is None}
    found = [each.record for each in history if each.version.encryption is not None]
    records = [record for record in found if record is not None]
    assert counts.summed == len(records)
    for record in records:
        assert record.encryption is not None
        assert record.encryption.anchor_weights in plain
        assert sum(one.coefficient or 0 for one in record.contributors) == pytest.approx(1)
        assert all(not one.metrics for one in record.contributors)
    return records


def run(
    cluster: RingCluster,
    rounds: int = 3,
    mechanisms: dict[str, Any] | None = None,
    key: SecretKey = KEY,
    **more: Any,  # noqa: ANN401 - of a job file
) -> list[RoundRecord]:
    """Run an encrypted job to its end, and return its records."""
    more["privacy-mechanisms"] = mechanisms or HOMOMORPHIC
    cluster.submit(rounds=rounds, **more)
    state = cluster.run()
    assert (state.phase, state.round) == ("finished", rounds), (state.reason, cluster.answers)
    assert cluster.ring.broker.violations == []
    assert cluster.ring.misread == []
    return checked_records(cluster, key)


def test_versions_are_the_anchor_and_the_exact_mean(tmp_path: Path) -> None:
    """And the ranges follow the updates from round to round; the evaluator has the key."""
    with closing(RingCluster(tmp_path, encrypted=True)) as cluster:
        records = run(cluster, rounds=4)
        assert len(records) == 4
        ranges = [record.state.ranges for record in records if record.state is not None]
        assert len(set(ranges)) > 1
        assert cluster.states["job-1"][-1].metrics


@pytest.mark.parametrize("parameters", [{}, AEROS])
def test_versions_of_ckks_are_the_anchor_and_the_mean(
    parameters: dict[str, Any], tmp_path: Path
) -> None:
    """With the defaults, and with the parameters that aerOS has; an agent is killed on the way."""
    key = SecretKey.generate(choose_parameters(scheme="ckks", **parameters))
    mechanisms = {"homomorphic": {"scheme": "CKKS", **parameters}}
    with closing(RingCluster(tmp_path, encrypted=True, key=key)) as cluster:
        killed = kill_at(cluster, "agent.a1", "outbox:saved", 2)
        records = run(cluster, mechanisms=mechanisms, key=key)
        assert killed == ["agent.a1"]
        assert {one.encryption.scheme for one in records if one.encryption is not None} == {"ckks"}
        assert cluster.states["job-1"][-1].metrics
        first, second, *_ = records[0].contributors
        sealed = {**cluster.sealed, first.update: cluster.sealed[second.update]}
        with cluster.store() as store, pytest.raises(RecordsError):
            check_encrypted_records(store, sealed, key)


def test_an_agent_that_missed_rounds_joins(tmp_path: Path) -> None:
    """The key, the anchor and one blob are all that it needs."""
    with closing(RingCluster(tmp_path, encrypted=True)) as cluster:
        late = cluster.agents[-1]
        cluster.ring.kill(late)
        wish = {"agents": 3, "quorum": 2}
        cluster.ring.at(4.0, lambda: cluster.ring.start(late))
        records = run(cluster, rounds=9, wish=wish)
        took_part = [late in {one.agent for one in each.contributors} for each in records]
        assert not took_part[0]
        assert any(took_part)


@pytest.mark.parametrize(
    ("victim", "step"),
    [
        (COLLECTOR, "received:OpenRound"),
        (COLLECTOR, "received:Offer"),
        (COLLECTOR, "run:FoldRun"),
        (COLLECTOR, "ran:FoldRun"),
        (COLLECTOR, "run:AggregateRun"),
        (COLLECTOR, "ran:AggregateRun"),
        (COLLECTOR, "send:Commit"),
        (COLLECTOR, "received:Committed"),
        (REPOSITORY, "received:Commit"),
        (REPOSITORY, "send:Committed"),
        ("agent.a1", "received:TrainTask"),
        ("agent.a1", "outbox:save"),
        ("agent.a1", "outbox:saved"),
        ("agent.a1", "send:Offer"),
        ("agent.a1", "received:Receipt"),
    ],
)
def test_a_service_that_is_killed_at_any_step_changes_no_sum(
    victim: str, step: str, tmp_path: Path
) -> None:
    """An update is in a version once or not at all, whatever was repeated."""
    with closing(RingCluster(tmp_path, encrypted=True)) as cluster:
        killed = kill_at(cluster, victim, step, 2)
        assert len(run(cluster)) == 3
        assert killed == [victim]


def test_another_collector_goes_on(tmp_path: Path) -> None:
    """Sums of ciphertexts need nothing that only one collector has."""
    with closing(RingCluster(tmp_path, encrypted=True, collectors=2)) as cluster:
        killed = kill_at(cluster, "collector.", "ran:FoldRun", 2, back=False)
        assert len(run(cluster)) == 3
        assert len(killed) == 1


@pytest.mark.parametrize("mechanism", ["dp-fixed", "dp-adaptive"])
def test_noise_of_agents_is_part_of_the_sum(mechanism: str, tmp_path: Path) -> None:
    """The ledger has its entries; an adaptive norm follows the bits, which have noise as well."""
    keys = {"noise_multiplier": 0.7, "num_sampled_clients": 4}
    own: dict[str, Any] = {
        "dp-fixed": {**keys, "clipping_norm": 0.5},
        "dp-adaptive": {**keys, "init_clip_norm": 0.5, "clip_count_stddev": 0.6},
    }
    mechanisms = {**HOMOMORPHIC, mechanism: own[mechanism]}
    with closing(RingCluster(tmp_path, encrypted=True)) as cluster:
        records = run(cluster, mechanisms=mechanisms)
        assert [one.privacy.entries for one in records if one.privacy is not None] == [1, 2, 3]
        assert all(one.examples == 1 for each in records for one in each.contributors)
        states = [record.state for record in records if record.state is not None]
        norms = {state.numbers.get("clipping_norm") for state in states}
        assert len(norms) == (3 if mechanism == "dp-adaptive" else 1)


def test_the_oracle_finds_a_version_of_other_updates(tmp_path: Path) -> None:
    """One that found nothing would prove nothing."""
    with closing(RingCluster(tmp_path, encrypted=True)) as cluster:
        (record,) = run(cluster, rounds=1)
        first, second, *_ = record.contributors
        sealed = {**cluster.sealed, first.update: cluster.sealed[second.update]}
        with (
            cluster.store() as store,
            pytest.raises(RecordsError, match="is not the sum of what its contributors encrypted"),
        ):
            check_encrypted_records(store, sealed, KEY)


def test_the_oracle_reads_headers_without_the_key(tmp_path: Path) -> None:
    """So a fault test of real processes finds a record that contradicts its version."""
    with closing(RingCluster(tmp_path, encrypted=True)) as cluster:
        run(cluster, rounds=1)
        with cluster.store() as store:
            assert check_records(store).rounds == 1
            each = next(one for one in store.history() if one.record is not None)
            how, record = each.version.encryption, each.record
            assert how is not None
            assert record is not None
            fewer = replace(record, contributors=record.contributors[1:])
            with pytest.raises(RecordsError, match=r"is the sum of 4 updates of the weight 46"):
                check_encrypted(store, replace(each, record=fewer), how)
            other = replace(how, key="f" * 64)
            with pytest.raises(RecordsError, match="in another way than its header says"):
                check_encrypted(store, each, other)
            with pytest.raises(RecordsError, match="in another way than its record says"):
                check_encrypted(store, replace(each, record=replace(record, encryption=None)), how)
            check_encrypted(store, replace(each, record=None), how)  # a rotated version
