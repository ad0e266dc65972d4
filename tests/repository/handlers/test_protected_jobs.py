"""Jobs with encrypted or masked updates: checked before they are stored, planned and committed."""

import json
from dataclasses import replace
from typing import Any

import pytest

from fedbus.errors import LayoutError
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.documents import JobFault, TensorSpec
from fedbus.wire.messages import (
    Commit,
    CommitRefused,
    Committed,
    JobFileRefused,
    JobLoaded,
    ListModels,
    PlanStored,
    ShowModel,
    StoreJob,
    StorePlan,
)
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.strategies import Strategy
from fedbus_repository.core import RepositoryCore
from fedbus_repository.handlers.encrypted_versions import (
    check_encrypted_round,
    check_encrypted_size,
)
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.protection_rules import encryption_of
from fedbus_repository.stores.records import StoredJob
from tests.repository.harness import (
    COLLECTOR,
    CONTROLLER,
    FEDAVG,
    JOB,
    LAYOUT,
    MODEL,
    REPOSITORY,
    USER,
    Harness,
    begin,
    load,
    push,
    push_of,
    put,
    spec,
    weights,
)
from tests.repository.protected_jobs import (
    ENCRYPTED,
    ENCRYPTION,
    ENCRYPTION_KEY,
    MASKED,
    OTHER_ENCRYPTION_KEY,
    ciphertexts,
    protected_plan,
    protected_record,
)

HOMOMORPHIC: dict[str, Any] = {"homomorphic": {}}
ANCHOR = blob_ref_of(weights(0.0))
MASKING: dict[str, Any] = {"secure-aggregation": {}}


def store_job(strategy: Strategy | None, mechanisms: dict[str, Any], job: str = JOB) -> StoreJob:
    """A job file with a protection, and its strategy."""
    file = {
        "training_id": job,
        "model_name": MODEL,
        "num_rounds": 1,
        "round": {"agents": 3, "quorum": 3},
        "privacy-mechanisms": mechanisms,
    }
    return StoreJob(
        epoch=0, job=job, model=MODEL, file=json.dumps(file).encode(), strategy=strategy
    )


def refused(harness: Harness, message: StoreJob) -> JobFault:
    """Submit a job that is refused, and return the fault."""
    [answer] = harness.receive(CONTROLLER, message)
    assert isinstance(answer, JobFileRefused)
    (fault,) = answer.faults
    return fault


@pytest.mark.parametrize(
    ("strategy", "mechanisms"), [(ENCRYPTED, HOMOMORPHIC), (MASKED, MASKING), (FEDAVG, {})]
)
def test_a_job_is_stored_with_its_strategy(
    harness: Harness, store: Store, strategy: Strategy, mechanisms: dict[str, Any]
) -> None:
    """Its rounds are judged by it; the controller learns how many ranges a plan has.

    A controller that continues the job uses it, too: it may have been started with another key.
    """
    push(store)
    [loaded] = harness.receive(CONTROLLER, store_job(strategy, mechanisms))
    assert isinstance(loaded, JobLoaded)
    assert loaded.shared_tensors == 2
    assert loaded.strategy == (None if strategy == FEDAVG else strategy)
    assert load(store).strategy == strategy


@pytest.mark.parametrize(
    ("strategy", "mechanisms"),
    [(FEDAVG, HOMOMORPHIC), (None, MASKING), (ENCRYPTED, MASKING), (MASKED, {})],
)
def test_a_file_and_its_strategy_are_protected_alike(
    harness: Harness, store: Store, strategy: Strategy | None, mechanisms: dict[str, Any]
) -> None:
    """Another version of fedbus at the controller may not know the key of the file."""
    push(store)
    assert str(refused(harness, store_job(strategy, mechanisms))) == (
        "privacy-mechanisms: the file and the strategy that the controller resolved it into differ "
        "in how updates are encrypted or masked; run the same version of fedbus at controllers and "
        "repository"
    )


@pytest.mark.parametrize(
    ("strategy", "mechanisms", "key"),
    [(ENCRYPTED, HOMOMORPHIC, "homomorphic"), (MASKED, MASKING, "secure-aggregation")],
)
def test_a_model_that_shares_whole_numbers_is_refused(
    harness: Harness, store: Store, strategy: Strategy, mechanisms: dict[str, Any], key: str
) -> None:
    """They have no range; the fault names them and what to do."""
    steps = TensorSpec(name="steps", shape=(1,), dtype="int64", role="statistic")
    scale = TensorSpec(name="scale", shape=(1,), dtype="float32")
    store.push(push_of(put(store, spec(layout=(scale, steps))), put(store, weights(0))), ())
    assert str(refused(harness, store_job(strategy, mechanisms))) == (
        f"privacy-mechanisms.{key}: model digits: only floating-point tensors can be encrypted or "
        "masked, and the model shares 'steps'; give them the role local, or replace what needs them"
    )


def test_a_spec_that_cannot_be_read_is_a_fault(harness: Harness, store: Store) -> None:
    """So the number of ranges is known of each job that is accepted."""
    store.push(push_of(put(store, b"{}"), put(store, weights(0))), ())
    fault = refused(harness, store_job(ENCRYPTED, HOMOMORPHIC))
    assert fault.key == "model_name"
    assert fault.problem.startswith("the spec of model digits cannot be read: ")


def test_a_job_of_an_unknown_model_is_refused_for_that(harness: Harness) -> None:
    """It has no tensors to judge."""
    assert refused(harness, store_job(ENCRYPTED, HOMOMORPHIC)).key == "model_name"


def test_parameters_that_contradict_each_other_are_refused(harness: Harness, store: Store) -> None:
    """Whatever a controller has resolved: sums could overflow."""
    push(store)
    wrong = replace(ENCRYPTED, encryption=replace(ENCRYPTION, parameters="0" * 64))
    assert str(refused(harness, store_job(wrong, HOMOMORPHIC))) == (
        "privacy-mechanisms.homomorphic: the digest of the parameters is not that of the parameters"
    )


TERMS = PrivacyTerms(
    mechanism="dp-fixed",
    release="gaussian",
    noise="agents",
    clipping="trusted",
    noise_multiplier=1.0,
    delta=1e-5,
    cohort=3,
)


@pytest.mark.parametrize(
    ("strategy", "changes", "reason"),
    [
        (ENCRYPTED, {"sampling": "poisson"}, "poisson, but the number of updates in an encrypted"),
        (
            MASKED,
            {"sampling": "poisson", "noise": "collector"},
            "poisson, but agents of a masked round are told each other's names",
        ),
        (
            ENCRYPTED,
            {"noise": "collector"},
            "contradict how updates are hidden: the collector draws the noise",
        ),
        (
            MASKED,
            {"noise": "collector", "clipping": "enforced"},
            "contradict how updates are hidden: the collector measures updates that it cannot read",
        ),
    ],
)
def test_privacy_that_does_not_hold_for_hidden_updates_is_refused(
    harness: Harness, store: Store, strategy: Strategy, changes: dict[str, Any], reason: str
) -> None:
    """Whatever a controller has resolved."""
    push(store)
    mechanisms = HOMOMORPHIC if strategy is ENCRYPTED else MASKING
    private = replace(strategy, privacy=replace(TERMS, **changes))
    [answer] = harness.receive(CONTROLLER, store_job(private, mechanisms))
    assert isinstance(answer, JobFileRefused)
    assert any(reason in fault.problem for fault in answer.faults)


def keyed(store: Store, key: str) -> Harness:
    """A core that accepts one encryption key only."""
    made = Harness(RepositoryCore(REPOSITORY, store, encryption_key=key))
    made.connect()
    return made


def test_a_repository_with_a_key_accepts_no_other_one(store: Store) -> None:
    """A controller that was started with another key would make versions that no agent can read."""
    push(store)
    harness = keyed(store, OTHER_ENCRYPTION_KEY)
    assert str(refused(harness, store_job(ENCRYPTED, HOMOMORPHIC))) == (
        "privacy-mechanisms.homomorphic: the controller's encryption key is 1a1a1a1a1a1a…, and that"
        " of the repository 2b2b2b2b2b2b…; start both with the same public key "
        "(FEDBUS_ENCRYPTION_KEY)"
    )
    [loaded] = keyed(store, ENCRYPTION_KEY).receive(CONTROLLER, store_job(ENCRYPTED, HOMOMORPHIC))
    assert isinstance(loaded, JobLoaded)
    commit, content = planned_commit(store)
    harness.serve(content)
    [answer] = harness.receive(COLLECTOR, commit)
    assert isinstance(answer, CommitRefused)
    assert answer.reason == (
        "the encrypted weights: they are encrypted with the key 1a1a1a1a1a1a…, and this repository "
        "has 2b2b2b2b2b2b…; start it with the public key of the new versions "
        "(FEDBUS_ENCRYPTION_KEY)"
    )


def test_a_repository_announces_its_key(store: Store) -> None:
    """`fedbus nodes` shows it."""
    assert keyed(store, ENCRYPTION_KEY).encryption_key == ENCRYPTION_KEY


@pytest.mark.parametrize("ranges", [(1,), (1, 1, 1)])
def test_a_plan_has_one_range_for_each_shared_tensor(
    harness: Harness, store: Store, ranges: tuple[int, ...]
) -> None:
    """The store does not know the layout; a plan with too few would be refused by each agent."""
    job = begin(store, strategy=ENCRYPTED)
    plan = protected_plan(job, ranges=ranges)
    [answer] = harness.receive(CONTROLLER, StorePlan(epoch=0, plan=plan))
    assert isinstance(answer, JobFileRefused)
    number = f"{len(ranges)} range{'s' if len(ranges) > 1 else ''}"
    assert answer.faults[0].problem == (
        f"the plan of task 1 has {number}, and model 'digits' shares 2 tensors"
    )
    stored = StorePlan(epoch=0, plan=protected_plan(job))
    assert harness.receive(CONTROLLER, stored) == [PlanStored(job=JOB, task=1)]


def planned_commit(store: Store, content: bytes | None = None) -> tuple[Commit, bytes]:
    """Plan the next round; return what its collector commits, and the blob."""
    job = load(store)
    plan = protected_plan(job)
    assert store.store_plan(2**52, plan) == plan
    made = content or ciphertexts(anchor_of(job), plan.ranges)
    record = protected_record(plan, job.latest)
    return Commit(record=record, weights=blob_ref_of(made)), made


def anchor_of(job: StoredJob) -> BlobRef:
    """The weights that the next version is a distance from."""
    return encryption_of(ENCRYPTION, job.latest).anchor_weights


def test_an_encrypted_round_is_fetched_kept_and_announced(harness: Harness, store: Store) -> None:
    """Each version says how it is encrypted, in every place that names it."""
    anchor = begin(store, strategy=ENCRYPTED).base
    for round_ in (1, 2, 3, 4):
        commit, content = planned_commit(store)
        harness.serve(content)
        [answer] = harness.receive(COLLECTOR, commit)
        assert isinstance(answer, Committed)
        assert answer.version.version == round_ + 1
        assert answer.version.encryption == commit.record.encryption
    assert commit.record.encryption is not None
    assert commit.record.encryption.anchor == anchor.version
    assert harness.latest[-1].encryption == commit.record.encryption
    [listed] = harness.receive(USER, ListModels())
    assert [each.encryption for each in listed.models] == [commit.record.encryption]
    [shown] = harness.receive(USER, ShowModel(model=MODEL))
    assert [each.encryption is None for each in shown.history] == [False] * 4 + [True]
    assert {each.derived for each in shown.history} == {None}
    assert store.holds(anchor.weights)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"count": 2}, "the sum of 2 updates of 3 examples, where the round has 3 of 3"),
        ({"weight": 5}, "the sum of 3 updates of 5 examples, where the round has 3 of 3"),
        (
            {"key": OTHER_ENCRYPTION_KEY},
            f"the key of the encrypted blob is {'2b' * 32}, and {ENCRYPTION_KEY} is expected",
        ),
        (
            {"ranges": (1, 2)},
            "ranges of the encrypted blob is (1, 2), and (1, 1) is expected",
        ),
        (
            {"anchor": "0" * 64},
            f"the anchor of the encrypted blob is {'0' * 64}, and {ANCHOR.digest} is expected",
        ),
    ],
)
def test_a_blob_whose_header_is_not_that_of_its_round_is_refused(
    harness: Harness, store: Store, changes: dict[str, Any], reason: str
) -> None:
    """It is not kept."""
    job = begin(store, strategy=ENCRYPTED)
    commit, content = planned_commit(store, ciphertexts(anchor_of(job), **changes))
    harness.serve(content)
    [answer] = harness.receive(COLLECTOR, commit)
    assert isinstance(answer, CommitRefused)
    assert answer.reason == f"the encrypted weights: {reason}"
    assert not store.holds(commit.weights)


@pytest.mark.parametrize("size", [100, 10**9])
def test_an_impossible_size_is_refused_before_a_byte_is_fetched(
    harness: Harness, store: Store, size: int
) -> None:
    """A bound follows from the terms and the layout."""
    begin(store, strategy=ENCRYPTED)
    commit, _ = planned_commit(store)
    large = replace(commit, weights=replace(commit.weights, size=size))
    [answer] = harness.receive(COLLECTOR, large)
    assert isinstance(answer, CommitRefused)
    assert answer.reason.startswith("the encrypted weights: expected ")
    assert answer.reason.endswith(f" bytes of ciphertexts, got {size}")
    assert not harness.fetching


def test_plain_weights_in_the_place_of_encrypted_ones_are_refused(
    harness: Harness, store: Store
) -> None:
    """They are too short; and if they are not, they are no ciphertexts."""
    begin(store, strategy=ENCRYPTED)
    commit, content = planned_commit(store, weights(1.0) + bytes(40_000))
    harness.serve(content)
    [answer] = harness.receive(COLLECTOR, commit)
    assert isinstance(answer, CommitRefused)
    reason = "a plain blob where an encrypted one is expected"
    assert answer.reason == f"the encrypted weights: {reason}"


def test_a_masked_round_makes_a_plain_version(harness: Harness, store: Store) -> None:
    """Only updates are masked."""
    begin(store, strategy=MASKED)
    commit, _ = planned_commit(store)
    record = replace(commit.record, strategy=MASKED, encryption=None)
    harness.serve(weights(1.0))
    [answer] = harness.receive(COLLECTOR, Commit(record=record, weights=blob_ref_of(weights(1.0))))
    assert isinstance(answer, Committed)
    assert answer.version.encryption is None


def test_a_file_that_cannot_be_parsed_is_left_to_the_controller(
    harness: Harness, store: Store
) -> None:
    """It has judged it; the repository judges the strategy alone."""
    push(store)
    message = replace(store_job(ENCRYPTED, HOMOMORPHIC), file=b"[]")
    [loaded] = harness.receive(CONTROLLER, message)
    assert isinstance(loaded, JobLoaded)


def test_terms_that_cannot_hold_the_sum_have_no_size() -> None:
    """They are refused with the job; a collector may still send some."""
    wrong = replace(ENCRYPTION, parameters="0" * 64)
    with pytest.raises(LayoutError, match="the digest of the parameters is not that"):
        check_encrypted_size(100_000, wrong, LAYOUT)


def test_a_round_that_does_not_say_how_it_is_encrypted_is_refused(store: Store) -> None:
    """Whatever its blob has."""
    job = begin(store, strategy=ENCRYPTED)
    plan = protected_plan(job)
    record = protected_record(plan, job.latest, encryption=None)
    with pytest.raises(LayoutError, match="does not say how its version is encrypted"):
        check_encrypted_round(b"", 0, LAYOUT, record, plan)
