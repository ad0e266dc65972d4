"""Encrypted rounds at the collector: no base, no look into an update, and the record of a sum."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.core.actions import AnnounceEncryptionKey, Run
from fedbus.core.events import Connected
from fedbus.encryption.encrypt import decrypt_version, encrypt_update
from fedbus.encryption.encrypted_blob import encrypted_bounds
from fedbus.errors import SettingsError
from fedbus.simulation.in_process_sums import InProcessSums
from fedbus.wire.blobs import EncryptedVersion, ModelRef, blob_ref_of
from fedbus.wire.messages import OpenRound
from fedbus_collector import keys
from fedbus_collector.app import key_of
from fedbus_collector.encryption_key import NO_ENCRYPTION_KEY, CollectorKey
from fedbus_collector.rounds.encrypted_plan import planned_update
from tests.collector.harness import (
    BASE,
    CONTROLLER,
    JOB,
    LAYOUT,
    A,
    B,
    C,
    Harness,
    arrays,
    mean,
    offer,
    order,
    version,
)
from tests.sample_encryption import sample_key, sample_terms, save_key

OTHER_KEY = "f" * 64
TERMS = sample_terms()
WRONG_KEY = (
    f"the job's encryption key is {TERMS.key[:12]}, and this collector has ffffffffffff; put the "
    "same public key file on all collectors"
)
WRONG_BASE = (
    f"tiny version 2 is encrypted with the key ffffffffffff, and the job's is {TERMS.key[:12]}; a "
    "holder of both encrypts it with the job's: `fedbus keys rotate tiny`"
)


def encrypted_order(**changes: Any) -> OpenRound:  # noqa: ANN401 - any field of a plan
    """Order an encrypted round, in which 20 examples count at most."""
    strategy = replace(mean(), encryption=TERMS)
    return order(strategy=strategy, **{"ranges": (0, 1), "max_examples": 20, **changes})


class EncryptedRound(Harness):
    """A collector with a key, and agents that encrypt."""

    def __init__(self, request: OpenRound | None = None, key: CollectorKey | None = None) -> None:
        public = sample_key().public
        super().__init__(encryption_key=key or CollectorKey(public.id, InProcessSums(public)))
        self.request = request or encrypted_order()
        self.open(self.request)

    def give_encrypted(self, agent: str, value: float, examples: int = 10) -> None:
        """Offer an agent's update, which is added."""
        header = planned_update(self.request.plan, TERMS, LAYOUT)
        rng = np.random.default_rng(3)
        update = encrypt_update(arrays(value), LAYOUT, header, examples, sample_key(), rng)
        offered = offer(bytes(update), examples, metrics={}, ranges=(-1, 0), inline=bytes(update))
        self.receive(agent, offered)
        self.run_calls()


def test_a_round_commits_the_sum_without_its_base() -> None:
    """Nothing is fetched but the spec; the record says how the version is encrypted."""
    harness = EncryptedRound()
    assert keys.BaseFetch(JOB, 1) not in harness.fetches
    harness.give_encrypted(A, 0.5, 20)
    harness.give_encrypted(B, 0.25, 10)
    harness.give_encrypted(C, -0.5, 10)
    commit = harness.commit
    record = commit.record
    assert record.encryption == EncryptedVersion(
        scheme="bfv",
        key=sample_key().id,
        parameters=TERMS.parameters,
        anchor=1,
        anchor_weights=blob_ref_of(BASE),
    )
    assert [(one.agent, one.examples, one.coefficient) for one in record.contributors] == [
        (A, 20, 0.5),
        (B, 10, 0.25),
        (C, 10, 0.25),
    ]
    assert not record.metrics
    assert record.state is not None
    assert record.state.ranges == (-1, 0)
    out = harness.out(commit)
    bounds = encrypted_bounds(TERMS, LAYOUT)
    assert bounds.least <= len(out) <= bounds.most
    decrypted = decrypt_version(out, LAYOUT, sample_key())
    assert decrypted["w"] == pytest.approx(np.full((2, 3), 0.1875), abs=0.01)
    harness.confirm()
    assert harness.ended.version is not None
    assert {each.verdict for each in harness.receipts().values()} == {"stored"}


def test_a_cohort_that_is_not_complete_reaches_its_quorum() -> None:
    """An agent that dropped out is simply not in the sum."""
    harness = EncryptedRound()
    harness.give_encrypted(A, 0.5)
    harness.give_encrypted(C, 0.25)
    harness.wait(11)
    harness.run_calls()
    assert [one.agent for one in harness.commit.record.contributors] == [A, C]
    mean_of = decrypt_version(harness.out(harness.commit), LAYOUT, sample_key())
    assert mean_of["w"] == pytest.approx(np.full((2, 3), 0.375), abs=0.01)


def test_an_encrypted_base_passes_its_anchor_on() -> None:
    """The next version has its distances from the same plain version."""
    anchor = blob_ref_of(BASE)
    encryption = EncryptedVersion(
        scheme="bfv", key=TERMS.key, parameters="0" * 64, anchor=1, anchor_weights=anchor
    )
    base = replace(version(2, b"some ciphertext"), encryption=encryption)
    harness = EncryptedRound(encrypted_order(base=base))
    header = planned_update(harness.request.plan, TERMS, LAYOUT)
    assert header.anchor == anchor.digest
    made = encrypt_update(arrays(0.5), LAYOUT, header, 10, sample_key(), np.random.default_rng(3))
    for agent in (A, B, C):
        offered = offer(bytes(made), metrics={}, ranges=(0, 0), base=2, inline=bytes(made))
        harness.receive(agent, offered)
        harness.run_calls()
    record = harness.commit.record
    assert record.encryption is not None
    assert (record.encryption.anchor, record.encryption.anchor_weights) == (1, anchor)
    assert record.encryption.parameters == TERMS.parameters


def test_what_cannot_be_an_update_is_refused_before_it_is_fetched() -> None:
    """Its size alone says so."""
    harness = EncryptedRound()
    harness.receive(A, offer(b"1" * 100, metrics={}, ranges=(0, 0)))
    assert harness.receipts()[A].reason.startswith("expected an update of ")


@pytest.mark.parametrize(
    ("key", "base", "reason"),
    [
        (CollectorKey(), version(), NO_ENCRYPTION_KEY),
        (
            CollectorKey(OTHER_KEY),
            version(),
            WRONG_KEY,
        ),
        (
            CollectorKey(TERMS.key),
            replace(
                version(2),
                encryption=EncryptedVersion(
                    scheme="bfv",
                    key=OTHER_KEY,
                    parameters="0" * 64,
                    anchor=1,
                    anchor_weights=blob_ref_of(BASE),
                ),
            ),
            WRONG_BASE,
        ),
    ],
)
def test_a_round_of_another_key_fails_by_name(
    key: CollectorKey,
    base: ModelRef,
    reason: str,
) -> None:
    """A sum of another key would be garbage."""
    harness = Harness(encryption_key=key)
    harness.receive(CONTROLLER, encrypted_order(base=base))
    assert (harness.ended.version, harness.ended.reason) == (None, reason)
    with pytest.raises(SettingsError, match="no encryption key"):
        CollectorKey().add(
            None, Path("a"), Path("b"), planned_update(encrypted_order().plan, TERMS, LAYOUT)
        )


def test_ciphertexts_are_never_added_in_the_event_loop() -> None:
    """A small update is, in a plain round."""
    harness = EncryptedRound()
    update = b"x" * encrypted_bounds(TERMS, LAYOUT).least
    offered = offer(update, metrics={}, ranges=(0, 0), inline=update)
    harness.receive(A, offered)
    (run,) = (action for action in harness.last if isinstance(action, Run))
    assert not run.brief


def test_the_key_of_the_settings_is_announced(tmp_path: Path) -> None:
    """The controller plans rounds for collectors with the job's key; a secret one is refused."""
    secret, public = save_key(tmp_path)
    key = key_of(public)
    harness = Harness(encryption_key=key)
    harness.handle(Connected())
    assert AnnounceEncryptionKey(sample_key().id) in harness.last
    key.close()
    with pytest.raises(SettingsError, match=r"FEDBUS_ENCRYPTION_KEY: .*this is a secret key"):
        key_of(secret)
    nobody = key_of(None)
    assert nobody.id is None
    nobody.close()
