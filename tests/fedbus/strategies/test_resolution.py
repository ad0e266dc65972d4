"""Resolution of a job's strategy: parameters reach the parts that take them."""

import threading

import pytest

from fedbus.errors import PluginError
from fedbus.jobs import StrategyConfig
from fedbus.strategies import part_factories
from fedbus.strategies.chosen_parts import StrategyError
from fedbus.strategies.resolution import resolve
from fedbus.training.params import PluginChoice
from tests.plugin_package import Install

PARTS = """
from fedbus.plugins import Preset
from fedbus.training.params import PluginChoice

class Both:
    def __init__(self, *, alpha: float = 1.0, own: float = 2.0): pass
    def apply(self, base, combined, state): return base

class Other:
    def __init__(self, *, alpha: float = 1.0): pass
    def terms(self, start): pass

PRESET = Preset(
    aggregator=PluginChoice(id="mean"),
    server_optimizer=PluginChoice(id="both"),
    objective=PluginChoice(id="other"),
    renamed={"eta": "own"},
)
"""
ENTRIES = """
[fedbus.server_optimizers]
both = acme_parts:Both
[fedbus.objectives]
other = acme_parts:Other
[fedbus.strategies]
acme = acme_parts:PRESET
"""


def config(**keys: object) -> StrategyConfig:
    """Return the strategy of a job file."""
    return StrategyConfig.model_validate({"id": "acme", **keys})


def test_a_parameter_reaches_each_part_that_takes_it(install: Install) -> None:
    """FedDyn's `alpha` is one number to the server and to the agents: they must not differ."""
    install("acme_parts", ENTRIES, PARTS)
    strategy = resolve(config(parameters={"alpha": 0.5, "own": 3.0, "weighted": False}))
    assert strategy.server_optimizer is not None
    assert strategy.objective is not None
    assert strategy.server_optimizer.parameters == {"alpha": 0.5, "own": 3.0}
    assert strategy.objective.parameters == {"alpha": 0.5}
    assert strategy.aggregator.parameters == {"weighted": False}


def test_a_parameter_that_no_part_takes_is_refused(install: Install) -> None:
    """A mistyped name would otherwise train with a default."""
    install("acme_parts", ENTRIES, PARTS)
    with pytest.raises(PluginError, match=r"alhpa: unknown parameter; did you mean 'alpha'.*own1"):
        resolve(config(parameters={"alhpa": 0.5, "own1": 1, "own": 2}))


def test_a_parameter_under_two_names_is_refused(install: Install) -> None:
    """Neither of two values is the one that was meant."""
    install("acme_parts", ENTRIES, PARTS)
    assert resolve(config(parameters={"eta": 4.0})).server_optimizer is not None
    with pytest.raises(
        PluginError, match=r"parameters.eta is the same parameter; give it under one"
    ):
        resolve(config(parameters={"eta": 4.0, "own": 3.0}))


TYPED = """
import time
class Typed:
    def __init__(self, needed: int, *, rate: float = 1.0, share: float = 0.5, mode: str = "a"):
        if needed < 0: raise ValueError(f"needed: expected at least 0, got {needed}")
        if not rate > 0: raise ValueError(f"rate: expected a number above 0, got {rate!r}")
        if not 0 <= share <= 1: raise ValueError(f"share: expected 0 to 1, got {share!r}")
        if mode == "b": raise ValueError("modes other than a are not ready")
        if mode == "c": raise KeyError("c")
        if mode == "sleep": time.sleep(1.5)
        if mode == "exit": raise SystemExit(3)
    def weight(self, facts): return 1.0

class Loose:
    def __init__(self, *, known: int = 1, **others): self.others = others
    def terms(self, start): pass

class Transform:
    def __init__(self, *, fraction: float): pass
    def transform_update(self, update, rng): return update

number = 5
"""
TYPED_ENTRIES = """
[fedbus.aggregators]
typed = acme_typed:Typed
number = acme_typed:number
[fedbus.objectives]
loose = acme_typed:Loose
[fedbus.update_transforms]
transform = acme_typed:Transform
"""


def faults(strategy: dict[str, object]) -> list[str]:
    """Return the faults of a strategy."""
    with pytest.raises(StrategyError) as refused:
        resolve(StrategyConfig.model_validate(strategy), ("all",))
    return [str(fault) for fault in refused.value.faults]


AGGREGATOR = {"id": "typed", "parameters": {"needed": 1}}


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ({"id": "nix"}, ["strategy: no strategy or aggregator named 'nix'; installed: "]),
        (
            {"id": "typed"},
            ["strategy.parameters.needed: missing; typed needs it: a whole number"],
        ),
        (
            {"aggregator": "typed"},
            ["strategy.aggregator.parameters.needed: missing; typed needs it: a whole number"],
        ),
        (
            {"id": "typed", "parameters": {"needed": "x", "rate": True, "sahre": 1}},
            [
                "strategy.parameters.sahre: unknown parameter; did you mean 'share'? typed takes",
                "strategy.parameters.needed: expected a whole number, got 'x'",
                "strategy.parameters.rate: expected a number, got true",
            ],
        ),
        (
            {"id": "typed", "parameters": {"needed": 1, "rate": 0, "share": 2}},
            [
                "strategy.parameters.rate: expected a number above 0, got 0.0",
                "strategy.parameters.share: expected 0 to 1, got 2.0",
            ],
        ),
        (
            {"aggregator": {"id": "typed", "parameters": {"needed": 1, "rate": 0, "x": 1}}},
            ["strategy.aggregator.parameters.x: unknown parameter; typed takes needed, rate,"],
        ),
        (
            {"aggregator": {"id": "typed", "parameters": {"needed": 1, "rate": 0}}},
            ["strategy.aggregator.parameters.rate: expected a number above 0, got 0.0"],
        ),
        (
            {"id": "typed", "parameters": {"needed": -1, "rate": 0}},
            ["strategy.parameters.needed: expected at least 0, got -1"],
        ),
        (
            {"id": "typed", "parameters": {"needed": 1, "mode": "b"}},
            ["strategy: aggregators plug-in 'typed': modes other than a are not ready"],
        ),
        (
            {"id": "typed", "parameters": {"needed": 1, "mode": "c"}},
            ["strategy: aggregators plug-in 'typed': KeyError: 'c'"],
        ),
        (
            {"id": "typed", "parameters": {"needed": 1, "mode": "exit"}},
            ["strategy: aggregators plug-in 'typed': it called sys.exit: 3"],
        ),
        (
            {"id": "typed", "parameters": {"needed": 1, "mode": "sleep"}},
            ["strategy: aggregators plug-in 'typed': it did not answer in 0."],
        ),
        (
            {"aggregator": AGGREGATOR, "parameters": {"needed": 2}},
            [
                "strategy.parameters.needed: strategy.aggregator.parameters.needed is the same one",
            ],
        ),
        ({"id": "number"}, ["strategy: aggregators plug-in 'number': expected a class or func"]),
        (
            {"server_optimizer": "adm"},
            ["strategy.server_optimizer: no server_optimizers plug-in named 'adm'; did you mean"],
        ),
        (
            {"parameters": {"min_fit_client": 3}},
            ["strategy.parameters.min_fit_client: unknown parameter; did you mean 'min_fit_cl"],
        ),
        (
            {"parameters": {"beta_1": 0.9}},
            ["strategy.parameters.beta_1: unknown parameter; fedada"],
        ),
        (
            {"update_transforms": ["transform"]},
            [
                "strategy.update_transforms[0].parameters.fraction: missing; transform needs it",
            ],
        ),
    ],
)
def test_a_fault_has_the_key_where_it_was_written(
    install: Install, monkeypatch: pytest.MonkeyPatch, strategy: dict[str, object], said: list[str]
) -> None:
    """Several at once: a user corrects the file once."""
    monkeypatch.setattr(part_factories, "STRATEGY_SECONDS", 0.5)
    install("acme_typed", TYPED_ENTRIES, TYPED)
    found = faults(strategy)
    assert len(found) == len(said)
    for one, expected in zip(found, said, strict=True):
        assert one.startswith(expected)


SLOW = """
import time
time.sleep(3)
class Slow:
    def weight(self, facts): return 1.0
    def terms(self, start): pass
    def apply(self, base, combined, state): return base
"""
SLOW_ENTRIES = """
[fedbus.aggregators]
slow = acme_slow:Slow
[fedbus.server_optimizers]
slow = acme_slow:Slow
[fedbus.objectives]
slow = acme_slow:Slow
"""


def end_slow_import() -> None:
    """Wait until the calls that exceeded their limit have ended."""
    for thread in threading.enumerate():
        if thread.name.endswith(" slow"):
            thread.join()


@pytest.mark.parametrize("slot", ["aggregator", "server_optimizer", "objective"])
def test_a_slow_import_may_work_later(
    install: Install, monkeypatch: pytest.MonkeyPatch, slot: str
) -> None:
    """Of any part."""
    monkeypatch.setattr(part_factories, "STRATEGY_SECONDS", 0.2)
    install("acme_slow", SLOW_ENTRIES, SLOW)
    config = StrategyConfig.model_validate({slot: "slow"})
    with pytest.raises(StrategyError, match=r"did not answer in 0\.2 s") as first:
        resolve(config)
    with pytest.raises(StrategyError, match="an earlier call of it has not ended yet") as second:
        resolve(config)
    assert first.value.timed_out
    assert second.value.timed_out
    end_slow_import()
    assert getattr(resolve(config), slot) == PluginChoice(id="slow")


def test_the_parts_of_a_strategy_share_the_time_limit(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller's lease does not last for one limit after the other."""
    monkeypatch.setattr(part_factories, "STRATEGY_SECONDS", 0.3)
    install("acme_slow", SLOW_ENTRIES, SLOW)
    with pytest.raises(
        StrategyError, match=r"no time is left for it: .* 0\.3 s together"
    ) as raised:
        resolve(StrategyConfig.model_validate({"aggregator": "slow", "server_optimizer": "slow"}))
    end_slow_import()
    assert raised.value.timed_out


def test_names_that_a_factory_does_not_state_reach_it(install: Install) -> None:
    """Only the plug-in knows them."""
    install("acme_typed", TYPED_ENTRIES, TYPED)
    config = StrategyConfig.model_validate(
        {"objective": {"id": "loose", "parameters": {"known": "2", "more": "2"}}}
    )
    objective = resolve(config).objective
    assert objective is not None
    assert objective.parameters == {"known": 2, "more": "2"}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (
            {"objective": "proximl", "parameters": {"nu": 2}},
            "strategy.objective: no objectives plug-in named 'proximl'; did you mean 'proximal'? ",
        ),
        ({"objective": "krum"}, "strategy.objective: no objectives plug-in named 'krum'; "),
        (
            {"update_transforms": ["nosuch"]},
            "strategy.update_transforms[0]: no update_transforms plug-in named 'nosuch'; ",
        ),
    ],
)
def test_a_part_of_agents_must_be_installed_here(chosen: dict[str, object], said: str) -> None:
    """No agent could train with it, and each round would fail."""
    with pytest.raises(StrategyError) as refused:
        resolve(StrategyConfig.model_validate(chosen), ())
    (fault,) = map(str, refused.value.faults)
    assert fault.startswith(said)
    assert fault.endswith("'krum' is an aggregator") == (chosen == {"objective": "krum"})


def test_another_systems_name_of_a_parameter_of_other_strategies_names_them() -> None:
    """FedAvg has no learning rate at the server: a strategy that has one is meant."""
    with pytest.raises(StrategyError, match=r"fedadam, .* have it; fedavg takes weighted"):
        resolve(StrategyConfig.model_validate({"parameters": {"eta": 0.1}}))


@pytest.mark.parametrize("written", ["eta", "server_lr", "server_learning_rate"])
def test_other_systems_names_of_a_parameter_are_read(written: str) -> None:
    """`eta` is Flower's, `server_lr` is AI4OS's."""
    config = StrategyConfig(id="fedadam", parameters={written: "0.3"})
    optimizer = resolve(config).server_optimizer
    assert optimizer is not None
    assert optimizer.parameters["server_learning_rate"] == 0.3


@pytest.mark.parametrize(
    ("id_", "state"), [("fedadam", ()), ("scaffold", ("control",))], ids=["adam", "scaffold"]
)
def test_agents_get_the_state_only_if_their_objective_reads_it(
    id_: str, state: tuple[str, ...]
) -> None:
    """FedAdam's moments are twice the model, and no agent uses them."""
    strategy = resolve(StrategyConfig(id=id_, population=9))
    assert strategy.server_state == state
    assert strategy.state
