"""Whatever a job gives to a strategy: faults with keys of the file, or a strategy as it is sent."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedbus.errors import PluginError
from fedbus.jobs import JobFile, JobFileError, StrategyConfig, canonical, parse
from fedbus.plugins import Group, installed_names
from fedbus.strategies.catalog import PART_GROUPS, shipped_parts, shipped_strategies
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.resolution import resolve, resolve_job
from fedbus.wire import codec
from fedbus.wire.strategies import Strategy

# A busy machine is no fault of the strategy.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = sorted(
    {name for group in PART_GROUPS for _, takes in shipped_parts(group) for name in takes}
    | {"eta", "mu", "server_lr", "betas", "fraction_fit", "min_fit_clients"}
)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1).map(str),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.lists(st.floats(0, 1), max_size=3),
)
parameters = st.dictionaries(st.sampled_from(NAMES), values, max_size=4)


def choices(group: Group) -> st.SearchStrategy[Any]:
    """Draw a part, by its bare id or with parameters."""
    ids = st.sampled_from([*installed_names(group), "unknown"])
    return st.one_of(st.none(), ids, st.fixed_dictionaries({"id": ids, "parameters": parameters}))


strategies = st.fixed_dictionaries(
    {"id": st.sampled_from([*(each.id for each in shipped_strategies()), "FedAvg", "unknown"])},
    optional={
        "parameters": parameters,
        "aggregator": choices("aggregators"),
        "server_optimizer": choices("server_optimizers"),
        "objective": choices("objectives"),
        "population": st.none() | st.integers(1, 20),
        "continue_state": st.booleans(),
    },
)
rounds = st.fixed_dictionaries({}, optional={"agents": st.integers(1, 12)})
optimizers = st.fixed_dictionaries(
    {},
    optional={
        "optimizer": st.sampled_from(["sgd", "adam"]),
        "momentum": st.sampled_from([0, 0.9]),
        "lr": st.sampled_from([0.1, "0.2"]),
    },
)


@unhurried
@given(strategies, rounds, optimizers)
def test_a_strategy_is_refused_with_keys_or_is_the_same_after_the_wire(
    strategy: dict[str, Any], round_: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    """And a job that is written again has the same strategy."""
    tree = {
        "training_id": "a",
        "model_name": "m",
        "num_rounds": 1,
        "strategy": strategy,
        "round": round_,
        "optimizer_config": optimizer,
    }
    try:
        job = parse(json.dumps(tree).encode(), strategy_faults)
    except JobFileError as error:
        for fault in error.faults:
            assert fault.problem
            json.dumps([fault.key, fault.problem, fault.hint]).encode()
        return
    resolved = resolve_job(job)
    assert codec.unpack(Strategy, codec.pack(resolved)) == resolved
    assert resolve_job(parse(canonical(job), strategy_faults)) == resolved


@unhurried
@given(st.sampled_from(shipped_strategies()), parameters)
def test_the_parts_of_a_strategy_are_the_strategy(each: Any, given_: dict[str, Any]) -> None:  # noqa: ANN401
    """Named one by one with all their parameters, they are what its id and parameters are."""
    try:
        whole = resolve(StrategyConfig.model_validate({"id": each.id, "parameters": given_}))
    except (PluginError, ValueError):
        return
    parts = ("aggregator", "server_optimizer", "objective")
    chosen = {name: getattr(whole, name) for name in parts if getattr(whole, name) is not None}
    again = resolve(
        StrategyConfig.model_validate(
            {"id": each.id}
            | {
                name: {"id": choice.id, "parameters": _listed(choice.parameters)}
                for name, choice in chosen.items()
            }
        )
    )
    assert again == whole


def test_each_shipped_strategy_is_accepted_with_its_defaults() -> None:
    """With enough agents, and a population where it is needed."""
    for each in shipped_strategies():
        plain: dict[str, Any] = {"model_name": "m", "num_rounds": 1, "round": {"agents": 8}}
        job = JobFile.model_validate({**plain, "strategy": each.id})
        faults = [str(fault) for fault in strategy_faults(job)]
        if faults:
            assert [fault.partition(":")[0] for fault in faults] == ["strategy.population"]
            known = JobFile.model_validate({**plain, "strategy": {"id": each.id, "population": 8}})
            assert list(strategy_faults(known)) == []


def _listed(values_: Any) -> dict[str, Any]:  # noqa: ANN401
    return {n: [*v] if isinstance(v, tuple) else v for n, v in values_.items()}
