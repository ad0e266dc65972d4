"""The experiments: settings, the strategies of each, and the parameters that are tried. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final

from benchmarks.strategies.attacks import Attack
from benchmarks.strategies.settings import Candidate, Setting

SEEDS: Final = (0, 1, 2)
TUNING_SEED: Final = 100
TUNING_ROUNDS: Final = 15
DATA: Final = ("digits", "mnist1d")
RATES: Final = (0.03, 0.1, 0.3)
"""Learning rates of agents that are tried for every strategy."""
EQUAL_RATES: Final = (0.03,)
"""Learning rates at which FedAvg and FedNova are also compared, as in FedNova's paper."""

GRIDS: Final[Mapping[str, Mapping[str, Sequence[float]]]] = {
    "fedprox": {"proximal_mu": (0.01, 0.1, 1.0)},
    "feddyn": {"alpha": (0.01, 0.03, 0.1)},
    "fedavgm": {"server_momentum": (0.3, 0.6, 0.9)},
    "fedadam": {"server_learning_rate": (0.01, 0.03, 0.1)},
    "fedyogi": {"server_learning_rate": (0.01, 0.03, 0.1)},
    "fedadagrad": {"server_learning_rate": (0.01, 0.03, 0.1)},
}
"""Values of a strategy's own parameter that are tried; others have their defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Strategies under the same conditions.

    Attributes:
        title: Of a table.
        settings: By the heading of a column, or of a group of columns.
        strategies: Names, with parameters that are not tried.
        target: Accuracies by heading; the rounds until one is reached are counted.
        rates: Learning rates by heading; elsewhere they are chosen.
        tuned_as: The strategy whose learning rate all others take; None: each its own.
        checked: Whether the combinations are those that a job may have.
    """

    title: str
    settings: Mapping[str, Setting]
    strategies: Mapping[str, Mapping[str, Any]]
    target: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    tuned_as: str | None = None
    checked: bool = True


_DIRICHLET = Setting(data="digits", split="dirichlet:alpha=0.5", rounds=30)
_ONE_LABEL = Setting(data="digits", split="label-quantity:1", rounds=30)
_UNEQUAL = Setting(data="digits", split="dirichlet:alpha=0.1", rounds=30, epochs=(2, 5))
_MANY = Setting(data="digits", split="iid", agents=20, cohort=20, rounds=30, epochs=(2, 2))
_FEW_MALICIOUS = {"num_malicious_clients": 4}
ATTACKS: Final[Mapping[str, Attack]] = {
    "no attack": Attack(),
    "sign flip x 10": Attack(share=0.2, flip_sign=10),
    "sign flip x 100": Attack(share=0.2, flip_sign=100),
    "label flip": Attack(share=0.2, flip_labels=True),
}
_RULES: Final[Mapping[str, Mapping[str, Any]]] = {
    "fedavg": {},
    "fedmedian": {},
    "fedtrimmedavg": {"beta": 0.2},
    "krum": _FEW_MALICIOUS,
    "multi-krum": _FEW_MALICIOUS,
    "bulyan": _FEW_MALICIOUS,
    "geometric-median": {},
    "norm-clipping": {},
}


def _on_both(setting: Setting) -> dict[str, Setting]:
    return {name: replace(setting, data=name) for name in DATA}


def _with_rates(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return each setting again for each of the equal learning rates."""
    equal = {f"{n}, rate {rate}": each for n, each in settings.items() for rate in EQUAL_RATES}
    return {**equal, **settings}


def _attacked(setting: Setting) -> dict[str, Setting]:
    return {name: replace(setting, attack=attack) for name, attack in ATTACKS.items()}


EXPERIMENTS: Final[Mapping[str, Experiment]] = {
    "heterogeneous": Experiment(
        title="Dirichlet 0.5, 10 agents, 5 epochs",
        settings=_on_both(_DIRICHLET),
        strategies={
            "fedavg": {},
            "scaffold": {},
            "fedprox": {},
            "feddyn": {},
            "fednova": {},
            "fedavgm": {},
            "fedadam": {},
            "fedyogi": {},
            "fedadagrad": {},
        },
        target={"digits": 0.93, "mnist1d": 0.55},
    ),
    "one label": Experiment(
        title="One label an agent, 10 agents, 5 epochs",
        settings=_on_both(_ONE_LABEL),
        strategies={"fedavg": {}, "fedprox": {}, "fednova": {}, "scaffold": {}},
    ),
    "one label, momentum": Experiment(
        title="One label an agent, agents train with momentum 0.9",
        settings=_on_both(replace(_ONE_LABEL, momentum=0.9)),
        strategies={"fedavg": {}, "fedprox": {}, "fednova": {}, "scaffold": {}},
        checked=False,
    ),
    "2 to 5 epochs": Experiment(
        title="Dirichlet 0.1, 10 agents, 2 to 5 epochs, drawn in each round",
        settings=_with_rates(_on_both(_UNEQUAL)),
        strategies={"fedavg": {}, "fednova": {}},
        rates={f"{name}, rate {rate}": rate for name in DATA for rate in EQUAL_RATES},
    ),
    **{
        f"attacks, {name}": Experiment(
            title=f"4 of 20 agents malicious, {name}",
            settings=_attacked(setting),
            strategies=_RULES,
            tuned_as="fedavg",
        )
        for name, setting in {
            "digits, IID": _MANY,
            "mnist1d, IID": replace(_MANY, data="mnist1d"),
            "digits, Dirichlet 0.5": replace(_MANY, split="dirichlet:alpha=0.5"),
        }.items()
    },
}


def candidates(strategy: str, fixed: Mapping[str, Any]) -> Iterator[Candidate]:
    """Yield what is tried for a strategy: each learning rate with each value of its parameter."""
    grid = GRIDS.get(strategy, {})
    for rate, *values in product(RATES, *grid.values()):
        yield Candidate(strategy, rate, {**fixed, **dict(zip(grid, values, strict=True))})
