"""Jobs with a privacy mechanism, checked against their model before they are stored."""

import json
from dataclasses import replace
from typing import Any

import pytest

from fedbus.model.layout import Layout, Role, Tensor
from fedbus.wire.documents import TensorSpec
from fedbus.wire.messages import JobFault, JobFileRefused, JobLoaded, StoreJob
from fedbus.wire.strategies import Strategy
from fedbus_repository.handlers.compatibility import unprotected_fault
from fedbus_repository.handlers.private_jobs import private_job_warnings
from fedbus_repository.stores.base import Store
from tests.repository.harness import (
    CONTROLLER,
    FEDAVG,
    JOB,
    LAYOUT,
    MODEL,
    PRIVATE,
    TERMS,
    Harness,
    begin,
    commit_next,
    commit_private,
    load,
    push,
    push_of,
    put,
    spec,
    weights,
)

DP_FIXED = {"noise_multiplier": 2.0, "clipping_norm": 1.0, "num_sampled_clients": 3}


def store_job(strategy: Strategy | None = PRIVATE, job: str = JOB, **keys: Any) -> StoreJob:  # noqa: ANN401 - keys of a job file
    """A job file with a mechanism, and its strategy; `keys` replace keys of the file."""
    file = {
        "training_id": job,
        "model_name": MODEL,
        "num_rounds": 1,
        "privacy-mechanisms": {"dp-fixed": DP_FIXED, "accounting": {"delta": 1e-5}},
    }
    content = json.dumps(file | keys).encode()
    return StoreJob(epoch=0, job=job, model=MODEL, file=content, strategy=strategy)


NO_MECHANISM: dict[str, Any] = {"privacy-mechanisms": {}}
OPEN = store_job(FEDAVG, **NO_MECHANISM)


def test_a_private_job_is_stored_with_its_strategy(harness: Harness, store: Store) -> None:
    """And is the same job if it is sent again."""
    push(store)
    [loaded] = harness.receive(CONTROLLER, store_job())
    assert isinstance(loaded, JobLoaded)
    assert (loaded.privacy, loaded.participations) == (None, ())
    assert load(store).private == PRIVATE
    [again] = harness.receive(CONTROLLER, store_job())
    assert again.acceptance.known


def test_a_job_of_an_unknown_model_is_refused_by_that(harness: Harness) -> None:
    """There is no spec to check."""
    [refused] = harness.receive(CONTROLLER, store_job())
    assert [each.key for each in refused.faults] == ["model_name"]


@pytest.mark.parametrize(
    ("message", "asked", "resolved"),
    [
        (store_job(FEDAVG), "dp-fixed", "none"),
        (store_job(None), "dp-fixed", "none"),
        (replace(OPEN, strategy=PRIVATE), "none", "dp-fixed"),
    ],
    ids=["resolved into none", "not resolved", "only resolved"],
)
def test_a_mechanism_that_was_not_resolved_is_refused(
    harness: Harness, store: Store, message: StoreJob, asked: str, resolved: str
) -> None:
    """An older controller would run the job without it."""
    push(store)
    [refused] = harness.receive(CONTROLLER, message)
    fault = JobFault(
        key="privacy-mechanisms",
        problem=f"the file has the mechanism {asked}, and the controller resolved it into "
        f"{resolved}",
        hint="run the same version of fedbus at controllers and repository",
    )
    assert refused == JobFileRefused(job=JOB, faults=(fault,))


@pytest.mark.parametrize(
    ("changed", "key", "problem"),
    [
        (
            {"noise": "agents", "clipping": "trusted"},
            "privacy-mechanisms.accounting.sampling",
            "agents add the noise",
        ),
        (
            {"release": "banded", "correlated": True},
            "privacy-mechanisms.accounting.sampling",
            "does not become smaller",
        ),
        ({"population": None}, "strategy.population", "missing"),
        (
            {"rate": 0.09},
            "strategy.population",
            "a sampling rate of 0.1, and ε is computed for 0.0",
        ),
    ],
)
def test_terms_for_which_no_epsilon_holds_are_refused(
    harness: Harness, store: Store, changed: dict[str, Any], key: str, problem: str
) -> None:
    """Whatever the controller resolved: a rate that is too small would state too small an ε."""
    push(store)
    poisson = replace(
        TERMS, sampling="poisson", relation="add-or-remove-one", population=30, rate=0.1
    )
    private = replace(PRIVATE, privacy=replace(poisson, **changed))
    [refused] = harness.receive(CONTROLLER, store_job(private))
    [fault] = refused.faults
    assert (fault.key, problem in fault.problem) == (key, True)
    good = replace(PRIVATE, privacy=poisson)
    [loaded] = harness.receive(CONTROLLER, store_job(good))
    assert isinstance(loaded, JobLoaded)


def test_a_private_job_on_a_model_of_unknown_epsilon_is_refused(
    harness: Harness, store: Store
) -> None:
    """With the mend."""
    begin(store, "a")
    commit_next(store, 1.0, "a")
    store.end_job(0, "a", "finished", "")
    [refused] = harness.receive(CONTROLLER, store_job())
    [fault] = refused.faults
    assert (fault.key, "--weights digits.npz --reset" in fault.problem) == (
        "privacy-mechanisms",
        True,
    )


def test_a_budget_below_one_round_is_refused(harness: Harness, store: Store) -> None:
    """At the key that has it."""
    push(store)
    small = replace(PRIVATE, privacy=replace(TERMS, target_epsilon=1.0))
    [refused] = harness.receive(CONTROLLER, store_job(small))
    [fault] = refused.faults
    assert fault.key == "privacy-mechanisms.accounting.target_epsilon"
    assert fault.problem.endswith("is too small: the first round would give 2")
    assert fault.hint == (
        "give a greater one, or more noise in privacy-mechanisms.dp-fixed: `fedbus privacy plan` "
        "says how much"
    )


def test_the_answer_states_the_planned_epsilon_once(harness: Harness, store: Store) -> None:
    """The controller passes it on to the user, and computes none itself."""
    push(store)
    [loaded] = harness.receive(CONTROLLER, store_job(num_rounds=10))
    assert loaded.acceptance.warnings == (
        (
            "privacy-mechanisms.dp-fixed: after 10 rounds ε is 7.52 for an agent that takes part "
            "in 10 of them (δ = 1e-05)"
        ),
    )
    [again] = harness.receive(CONTROLLER, store_job(num_rounds=10))
    assert again.acceptance.warnings == ()


def test_a_file_that_cannot_be_read_gets_no_warning(store: Store) -> None:
    """The controller has refused it."""
    assert private_job_warnings(store, replace(store_job(), file=b"{")) == ()


def test_a_job_without_a_mechanism_on_a_private_model_is_warned_of(
    harness: Harness, store: Store
) -> None:
    """It is accepted: that the ε ends is the user's choice."""
    begin(store, "a", strategy=PRIVATE)
    commit_private(store, 1.0, "a")
    store.end_job(0, "a", "finished", "")
    [loaded] = harness.receive(CONTROLLER, OPEN)
    [warning] = loaded.acceptance.warnings
    assert warning.startswith("model 'digits' has an ε of 2, and this job has no privacy")


def test_a_model_that_is_gone_is_warned_of_by_nothing(store: Store) -> None:
    """Its job was refused before."""
    assert private_job_warnings(store, OPEN) == ()


# ── tensors ───────────────────────────────────────────────────────────────────────────────────────


def layout(**roles: Role) -> Layout:
    """The layout of the harness, with further tensors of these roles."""
    return Layout(
        (
            *LAYOUT.tensors,
            *(Tensor(name, (3,), "float32", role) for name, role in roles.items()),
        )
    )


def test_a_model_with_statistics_is_refused(harness: Harness, store: Store) -> None:
    """They would leave the agent as they are."""
    found = layout(mean="statistic", var="statistic")
    tensors = tuple(
        TensorSpec(name=each.name, shape=each.shape, dtype=each.dtype, role=each.role)
        for each in found.tensors
    )
    store.push(push_of(put(store, spec(layout=tensors)), put(store, weights(0.0))), ())
    [refused] = harness.receive(CONTROLLER, store_job())
    assert refused.faults == (
        JobFault(
            key="privacy-mechanisms",
            problem="agents would send mean, var of model digits without noise: dp-fixed protects "
            "trained floating-point tensors only",
            hint="train a model with GroupNorm or LayerNorm instead of BatchNorm, or give these "
            "tensors the role local and push the model again",
        ),
    )


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8"])
def test_whole_numbers_are_refused(dtype: str) -> None:
    """A count of batches tells how many examples an agent has."""
    counts = Layout((*LAYOUT.tensors, Tensor("batches", (), dtype)))
    fault = unprotected_fault(counts, PRIVATE, MODEL)
    assert fault is not None
    assert "would send batches of model digits" in fault.problem


def test_what_does_not_leave_an_agent_needs_no_protection() -> None:
    """Local tensors, features instead of tensors, and a job without a mechanism."""
    assert unprotected_fault(LAYOUT, PRIVATE, MODEL) is None
    assert unprotected_fault(layout(mean="local"), PRIVATE, MODEL) is None
    features = replace(PRIVATE, privacy=replace(TERMS, release="features"))
    for strategy in (features, FEDAVG):
        assert unprotected_fault(layout(mean="statistic"), strategy, MODEL) is None


def test_a_spec_that_cannot_be_read_is_refused(harness: Harness, store: Store) -> None:
    """Then it is unknown what agents would send."""
    bad = put(store, b"no spec")
    pushed = push(store)
    store.push(push_of(bad, pushed.weights), ())
    [refused] = harness.receive(CONTROLLER, store_job())
    [fault] = refused.faults
    assert fault.key == "model_name"
    assert fault.problem.startswith("the spec of model digits cannot be read: ")


def test_a_model_with_more_numbers_than_epsilon_is_computed_for_is_refused() -> None:
    """Each of them becomes one random bit, which costs its own ε."""
    numbers = sum(tensor.numbers for tensor in LAYOUT.tensors)
    terms = replace(
        TERMS, mechanism="ldp-randomized-response", release="randomized-response", steps=numbers
    )
    assert unprotected_fault(LAYOUT, replace(PRIVATE, privacy=terms), MODEL) is None
    fewer = replace(PRIVATE, privacy=replace(terms, steps=numbers - 1))
    assert str(unprotected_fault(LAYOUT, fewer, MODEL)) == (
        f"privacy-mechanisms.ldp-randomized-response.trained_numbers: {numbers - 1}, but model "
        f"{MODEL} has {numbers} trained numbers; give {numbers}"
    )


def test_banded_noise_of_too_many_numbers_is_refused(harness: Harness, store: Store) -> None:
    """At once, not in a late round that would draw hours of earlier noise again."""
    numbers = 10**6
    tensor = TensorSpec(name="large", shape=(numbers,), dtype="float32", role="weight")
    store.push(push_of(put(store, spec(layout=(tensor,))), put(store, weights(0.0))), ())
    banded = replace(TERMS, mechanism="dp-banded", release="banded", correlated=True)
    keys = {"noise_multiplier": 2.0, "clipping_norm": 1.0, "num_sampled_clients": 3}
    mechanisms = {"dp-banded": {**keys, "min_separation": 1, "max_participations": 9999}}
    private = replace(PRIVATE, privacy=banded)
    job: dict[str, Any] = {"privacy-mechanisms": mechanisms}
    [refused] = harness.receive(CONTROLLER, store_job(private, num_rounds=5001, **job))
    assert refused.faults == (
        JobFault(
            key="num_rounds",
            problem="banded noise of 5,001 steps for 1,000,000 trained numbers: each round draws "
            "the noise of all earlier ones again, at most 5,000,000,000 numbers; so at most 5,000 "
            "rounds of this model, or dp-fixed",
        ),
    )
    [loaded] = harness.receive(CONTROLLER, store_job(private, num_rounds=5000, **job))
    assert isinstance(loaded, JobLoaded)
