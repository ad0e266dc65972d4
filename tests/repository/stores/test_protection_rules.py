"""Rules of encrypted and masked jobs, and their messages; what a store keeps of them."""

from dataclasses import replace

import pytest

from fedbus.wire.blobs import EncryptedVersion, blob_ref_of
from fedbus.wire.encryption import EncryptionTerms
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.strategies import Strategy, StrategyState, TrainingFacts
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.commit_rules import plan_fault
from fedbus_repository.stores.protection_rules import (
    encrypted_base_refusal,
    encryption_of,
    protected_commit_fault,
)
from fedbus_repository.stores.records import HistoryEntry, StoredJob, StoreRefusal, Version
from tests.repository.harness import (
    AGENTS,
    FEDAVG,
    JOB,
    MODEL,
    begin,
    contributor,
    load,
    put,
    record_of,
    spec,
    weights,
)
from tests.repository.protected_jobs import (
    ENCRYPTED,
    ENCRYPTION,
    ENCRYPTION_KEY,
    MASKED,
    OTHER_ENCRYPTION_KEY,
    protected_plan,
    protected_record,
)

PLAIN = Version(
    model=MODEL, version=4, parent=3, weights=blob_ref_of(weights(0)), spec=blob_ref_of(spec())
)
OVER_PLAIN = EncryptedVersion(
    scheme="bfv",
    key=ENCRYPTION_KEY,
    parameters=ENCRYPTION.parameters,
    anchor=4,
    anchor_weights=PLAIN.weights,
)
CIPHERTEXT = replace(
    PLAIN, version=5, parent=4, weights=blob_ref_of(b"ciphertexts"), encryption=OVER_PLAIN
)
OTHER_TERMS = replace(ENCRYPTION, key=OTHER_ENCRYPTION_KEY)


def job(strategy: Strategy, latest: Version = PLAIN, rounds: int = 0) -> StoredJob:
    """A job with this strategy."""
    return StoredJob(
        job=JOB,
        model=MODEL,
        file=b"{}",
        secret=b"",
        ended=None,
        base=latest,
        latest=latest,
        rounds=rounds,
        plan=None,
        strategy=strategy,
    )


def test_a_version_is_a_distance_from_the_newest_plain_one() -> None:
    """Also after many encrypted ones."""
    assert encryption_of(ENCRYPTION, PLAIN) == OVER_PLAIN
    assert encryption_of(ENCRYPTION, CIPHERTEXT) == OVER_PLAIN


@pytest.mark.parametrize("strategy", [None, FEDAVG, ENCRYPTED, MASKED])
def test_any_job_may_train_from_a_plain_version(strategy: Strategy | None) -> None:
    """It may become the anchor."""
    assert encrypted_base_refusal(strategy, PLAIN) is None


def test_a_job_continues_the_key_of_its_base() -> None:
    """Another job could not read it; each refusal says what a key holder can do."""
    assert encrypted_base_refusal(ENCRYPTED, CIPHERTEXT) is None
    what = "version 5 of model 'digits' is encrypted with the key 1a1a1a1a1a1a…"
    release = StoreRefusal(
        f"{what}, and this job does not encrypt its updates; have a key holder release it: "
        "`fedbus models release digits --key FILE`, or give privacy-mechanisms.homomorphic",
        "model_name",
    )
    for strategy in (None, FEDAVG, MASKED):
        assert encrypted_base_refusal(strategy, CIPHERTEXT) == release
    other = replace(ENCRYPTED, encryption=OTHER_TERMS)
    assert encrypted_base_refusal(other, CIPHERTEXT) == StoreRefusal(
        f"{what}, and this job's key is 2b2b2b2b2b2b…; have a key holder encrypt it with the new "
        "one: `fedbus keys rotate digits --old-key FILE --new-key FILE`, or start all nodes with "
        "the key of the version",
        "privacy-mechanisms.homomorphic",
    )


ALONE = replace(
    ENCRYPTED,
    encryption=replace(ENCRYPTION, fixed_point=replace(ENCRYPTION.fixed_point, max_agents=1)),
)
"""The strategy of a job that asks one agent."""
PLAN = protected_plan(job(ENCRYPTED))
ONWARD = replace(PLAN, state=StrategyState(rounds=1, ranges=(5, 6)), ranges=(5, 6), base=PLAN.base)


@pytest.mark.parametrize(
    ("strategy", "plan", "fault"),
    [
        (ENCRYPTED, PLAN, None),
        (MASKED, replace(PLAN, max_examples=1), None),
        (FEDAVG, replace(PLAN, ranges=(), max_examples=1), None),
        (
            FEDAVG,
            replace(PLAN, max_examples=1),
            "the plan of task 1 has ranges, and its updates are not whole numbers",
        ),
        (
            FEDAVG,
            replace(PLAN, ranges=()),
            "the plan of task 1 has ranges, and its updates are not whole numbers",
        ),
        (
            ENCRYPTED,
            replace(PLAN, max_examples=101),
            "the plan of task 1 counts 101 examples as a weight of 1, and the job allows 100",
        ),
        (
            ENCRYPTED,
            replace(PLAN, ranges=(1, 2)),
            "the plan of task 1 has other ranges than the last round found",
        ),
        (
            ENCRYPTED,
            replace(PLAN, ranges=()),
            "the plan of task 1 has other ranges than the last round found",
        ),
        (
            ENCRYPTED,
            replace(PLAN, cohort=(*AGENTS, "agent.d")),
            "the plan of task 1 asks 4 agents, and the sum of the job's whole numbers holds 3",
        ),
        (
            MASKED,
            replace(PLAN, cohort=AGENTS[:2]),
            "the plan of task 1 asks 2 agents; a masked round needs 3",
        ),
        (ENCRYPTED, replace(PLAN, quorum=2), None),
        (
            ENCRYPTED,
            replace(PLAN, quorum=1),
            (
                "the plan of task 1 needs 1 update; the sum of fewer than 2 does not hide what is "
                "in it"
            ),
        ),
        (
            MASKED,
            replace(PLAN, quorum=2),
            (
                "the plan of task 1 needs 2 updates; the sum of fewer than 3 does not hide what is "
                "in it"
            ),
        ),
        (ALONE, replace(PLAN, cohort=AGENTS[:1], quorum=1), None),
        (
            ENCRYPTED,
            replace(PLAN, base=replace(PLAN.base, encryption=OVER_PLAIN)),
            "the plan of task 1 says that version 4 is encrypted otherwise",
        ),
    ],
)
def test_a_plan_has_the_ranges_and_weights_of_its_job(
    strategy: Strategy, plan: Plan, fault: str | None
) -> None:
    """Else sums could overflow, or agents and collector would scale differently."""
    assert plan_fault(plan, job(strategy), PLAIN) == fault


def test_a_plan_has_the_ranges_that_the_last_round_found() -> None:
    """They are in the state that is stored with the base."""
    base = replace(CIPHERTEXT, job=JOB, round=1, state=ONWARD.state, strategy=ENCRYPTED)
    plan = protected_plan(job(ENCRYPTED, base, rounds=1))
    assert plan.ranges == (5, 6)
    # Of a job that was stored by an earlier version, the last round says how it encrypts.
    unknown = replace(job(ENCRYPTED, base, rounds=1), strategy=None)
    for stored in (job(ENCRYPTED, base, rounds=1), unknown):
        assert plan_fault(plan, stored, base) is None
        assert plan_fault(replace(plan, ranges=(1, 1)), stored, base) == (
            "the plan of task 1 has other ranges than the last round found"
        )


RECORD = protected_record(PLAN, PLAIN)
NOT_ITS = "the encryption of the round's version is not that of its parent and its strategy:"
AGENT_A = contributor("agent.a", 1)
BIT = replace(AGENT_A, facts=TrainingFacts(norm_bit=0.4))
ADAPTIVE = replace(MASKED, facts=("norm_bit",))
"""Of a privacy mechanism that asks for a bit of each norm, with noise."""


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (RECORD, None),
        (protected_record(PLAN, PLAIN, strategy=MASKED, encryption=None), None),
        (record_of(PLAN, strategy=FEDAVG), None),
        (
            replace(RECORD, encryption=None),
            "the round's strategy encrypts, and it does not state how its version is encrypted",
        ),
        (
            record_of(PLAN, encryption=OVER_PLAIN),
            "the round states that its version is encrypted, and its strategy does not encrypt",
        ),
        (
            replace(RECORD, encryption=replace(OVER_PLAIN, anchor=3)),
            f"{NOT_ITS} anchor",
        ),
        (
            replace(RECORD, encryption=replace(OVER_PLAIN, anchor_weights=blob_ref_of(b""))),
            f"{NOT_ITS} anchor_weights",
        ),
        (
            protected_record(PLAN, PLAIN, ranges=(1,)),
            "expected 2 ranges for the next round, got 1",
        ),
        (replace(RECORD, state=None), "expected 2 ranges for the next round, got 0"),
        (
            replace(RECORD, metrics={"train_loss": 1.0}),
            "updates of the round are whole numbers, and it states metrics of training",
        ),
        (
            replace(RECORD, contributors=(replace(AGENT_A, metrics={"loss": 1.0}),)),
            "agent.a's update is protected, and the round states figures of it",
        ),
        (
            replace(RECORD, contributors=(replace(AGENT_A, facts=TrainingFacts(steps=3)),)),
            "agent.a's update is protected, and the round states figures of it",
        ),
        (
            protected_record(
                PLAN,
                PLAIN,
                strategy=ADAPTIVE,
                encryption=None,
                contributors=(BIT, *RECORD.contributors[1:]),
            ),
            None,
        ),
        (
            replace(RECORD, contributors=(BIT,)),
            "agent.a's update is protected, and the round states figures of it",
        ),
        (
            replace(RECORD, contributors=(replace(AGENT_A, examples=101),)),
            "agent.a counts with 101 examples, and the plan allows 100",
        ),
    ],
)
def test_a_round_states_how_its_version_is_encrypted_and_nothing_else_of_its_agents(
    record: RoundRecord, fault: str | None
) -> None:
    """By the parent and the job's terms, so that each version can be read with its anchor alone."""
    assert protected_commit_fault(record, PLAN, PLAIN, None) == fault


def test_a_round_has_the_strategy_that_its_job_was_stored_with() -> None:
    """A collector cannot leave the encryption out."""
    fault = protected_commit_fault(record_of(PLAN), PLAN, PLAIN, ENCRYPTED)
    assert fault is not None
    said = "the round's strategy is not that which job 'digits-1' was stored with: encryption."
    assert fault.startswith(said)
    assert "encryption.fixed_point.bits is left out here and 11 there" in fault
    assert protected_commit_fault(RECORD, PLAN, PLAIN, ENCRYPTED) is None
    assert protected_commit_fault(record_of(PLAN), PLAN, PLAIN, FEDAVG) is None


@pytest.mark.parametrize(("terms", "has"), [(None, "none"), (OTHER_TERMS, "2b2b2b2b2b2b…")])
def test_a_round_continues_the_key_of_its_parent(terms: EncryptionTerms | None, has: str) -> None:
    """Its job was accepted before, so this cannot be but by an error."""
    record = protected_record(
        PLAN,
        CIPHERTEXT,
        strategy=replace(FEDAVG, encryption=terms),
        encryption=None if terms is None else encryption_of(terms, CIPHERTEXT),
    )
    assert protected_commit_fault(record, PLAN, CIPHERTEXT, None) == (
        f"version 5 is encrypted with the key 1a1a1a1a1a1a…, and the round continues it with {has}"
    )


def commit_encrypted(store: Store, name: bytes) -> Version:
    """Plan and commit a round of the encrypted job; the store does not read the ciphertexts."""
    found = load(store)
    plan = protected_plan(found)
    assert store.store_plan(2**52, plan) == plan
    done = store.commit(protected_record(plan, found.latest), put(store, name))
    assert isinstance(done, HistoryEntry)
    return done.version


def test_a_store_keeps_an_anchor_and_its_rules(store: Store) -> None:
    """Version 1 is the anchor of all; the next job must have its key."""
    anchor = begin(store, strategy=ENCRYPTED).base
    made = [commit_encrypted(store, b"%d" % number) for number in range(3)]
    assert {each.encryption and each.encryption.anchor for each in made} == {anchor.version}
    assert load(store).strategy == ENCRYPTED
    store.end_job(0, JOB, "finished", "")
    assert isinstance(store.store_job(0, "b", MODEL, b"{}", strategy=FEDAVG), StoreRefusal)
    assert isinstance(store.store_job(0, "b", MODEL, b"{}", strategy=ENCRYPTED), StoredJob)


@pytest.mark.parametrize(
    ("strategy", "came", "fault"),
    [
        (ENCRYPTED, 1, "the sum of 1 update does not hide what is in it; at least 2 are expected"),
        (ENCRYPTED, 2, None),
        (MASKED, 2, "the sum of 2 updates does not hide what is in it; at least 3 are expected"),
        (MASKED, 3, None),
        (ALONE, 1, None),
    ],
)
def test_a_version_shows_the_sum_of_several_updates(
    strategy: Strategy, came: int, fault: str | None
) -> None:
    """Who reads or releases the sum of one reads what that agent has sent."""
    plan = protected_plan(job(strategy))
    how = None if strategy is MASKED else OVER_PLAIN
    record = protected_record(plan, PLAIN, strategy=strategy, encryption=how)
    fewer = replace(record, contributors=record.contributors[:came])
    assert protected_commit_fault(fewer, plan, PLAIN, strategy) == fault
