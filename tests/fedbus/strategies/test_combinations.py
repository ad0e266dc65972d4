"""Combinations of settings that cannot work: one sentence each."""

from typing import Any

import pytest

from fedbus.jobs import JobFile
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.resolution import resolve_job
from tests.plugin_package import Install

SCAFFOLD = {"id": "scaffold", "population": 8}
NORMALIZED = """
class Normalized:
    needs_sgd = True
    of_training = ("momentum", "proximal_mu", "learning_rate")
    def __init__(self, *, momentum: float = 0.0, proximal_mu: float = 0.0,
                 learning_rate: float | None = None): pass
    def weight(self, facts): return 1.0

def made(*, momentum: float = 0.0):
    return Equal()
made.of_training = ("momentum",)

class Equal:
    weighs_equally = True
    def weight(self, facts): return 1.0

class Halve:
    def transform_combined(self, combined): return combined.update / 2

class Keeps:
    def terms(self, start): pass
    def after(self, start, update, steps): pass

class Writes:
    sections = ("extra",)
    def terms(self, start): pass
    def after(self, start, update, steps): pass
"""
ENTRIES = """
[fedbus.aggregators]
normalized = acme_normal:Normalized
equal = acme_normal:Equal
made = acme_normal:made
[fedbus.objectives]
writes = acme_normal:Writes
keeps = acme_normal:Keeps
[fedbus.update_transforms]
halve = acme_normal:Halve
"""


def job(**keys: Any) -> JobFile:  # noqa: ANN401 - whatever a job file holds
    """Return a job with these keys."""
    return JobFile.model_validate({"model_name": "m", "num_rounds": 1, **keys})


def faults(**keys: Any) -> list[str]:  # noqa: ANN401 - as above
    """Return the faults of a job's strategy."""
    return [str(fault) for fault in strategy_faults(job(**keys), ("all",))]


KRUM = {"id": "krum", "parameters": {"num_malicious_clients": 1}}
FEDDYN = {"id": "feddyn", "population": 8}
EQUAL = {"weighted": False}
ROWS: tuple[tuple[dict[str, Any], str], ...] = (
    (
        {"strategy": KRUM, "round": {"agents": 6, "quorum": 4}},
        (
            "round.quorum: 4, but krum with these parameters needs 5 updates; give round.agents "
            "and round.quorum of at least 5, or another aggregator: mean and median need 1"
        ),
    ),
    (
        {"strategy": KRUM, "round": {"agents": 4}},
        "round.agents: 4, so a quorum of 3, but krum with these parameters needs 5 updates; ",
    ),
    (
        {"strategy": SCAFFOLD, "optimizer_config": {"optimizer": "adam"}},
        (
            "optimizer_config.optimizer: 'adam', but scaffold holds for SGD without momentum and "
            "with a constant learning rate; choose sgd, or a strategy for any optimizer of agents"
        ),
    ),
    (
        {"strategy": SCAFFOLD, "optimizer_config": {"momentum": 0.9}},
        "optimizer_config.momentum: 0.9, but scaffold holds for SGD without momentum",
    ),
    (
        {"strategy": SCAFFOLD, "optimizer_config": {"weight_decay": 0.1}},
        "optimizer_config.weight_decay: 0.1, but scaffold holds for SGD without momentum",
    ),
    (
        {
            "strategy": SCAFFOLD,
            "scheduler_config": {"scheduler": "steplr", "step_size": 1},
        },
        "scheduler_config.scheduler: 'steplr', but scaffold holds for SGD without momentum",
    ),
    (
        {"strategy": SCAFFOLD, "warmup_config": {"warmup_epochs": 1}},
        "warmup_config.warmup_epochs: given, but scaffold holds for SGD without momentum",
    ),
    (
        {"strategy": SCAFFOLD, "round": {"keep_optimizer_state": True}},
        "round.keep_optimizer_state: true, but in scaffold each round begins with a new optimizer",
    ),
    (
        {"strategy": "normalized", "optimizer_config": {"optimizer": "adamw"}},
        "optimizer_config.optimizer: 'adamw', but normalized holds for SGD with or without",
    ),
    (
        {"strategy": "normalized", "optimizer_config": {"momentum": 0.9, "nesterov": True}},
        "optimizer_config.nesterov: true, but normalized holds for SGD with or without momentum",
    ),
    (
        {"strategy": "scaffold"},
        "strategy.population: missing; scaffold needs the number of agents that may take part",
    ),
    (
        {"strategy": {"id": "scaffold", "population": 3}, "round": {"agents": 4}},
        "strategy.population: 3, but each round asks 4 agents (round.agents); give the number of",
    ),
    (
        {"strategy": {"population": 3}},
        "strategy.population: no part of fedavg uses it; leave it out",
    ),
    (
        {"strategy": {"id": "fedadam", "population": 3}},
        "strategy.population: no part of fedadam uses it; leave it out",
    ),
    (
        {"strategy": {"objective": "writes", "parameters": EQUAL}},
        (
            "strategy.server_optimizer: the objective adds 'extra' to each update, and no server "
            "optimizer uses it; choose both parts of one strategy"
        ),
    ),
    (
        {"strategy": {"id": "fedadam", "objective": "writes", "parameters": EQUAL}},
        (
            "strategy.server_optimizer: the objective adds 'extra' to each update, and server "
            "optimizer 'adam' does not use it; choose both parts"
        ),
    ),
    (
        {"strategy": {**SCAFFOLD, "update_transforms": [{"id": "halve"}]}},
        (
            "strategy.update_transforms: halve changes the differences of an update only, "
            "and scaffold adds 'control' to it, from which the differences can be computed; leave "
            "it out, or choose a strategy without such arrays, such as fedprox"
        ),
    ),
    (
        {"strategy": {**FEDDYN, "objective": "proximal"}},
        "strategy.objective: only the server half of feddyn is chosen; choose feddyn here too",
    ),
    (
        {"strategy": {"id": "feddyn", "server_optimizer": "adam"}},
        "strategy.server_optimizer: only the agents' half of feddyn is chosen; choose feddyn here",
    ),
    (
        {
            "strategy": {
                **FEDDYN,
                "server_optimizer": {"id": "feddyn", "parameters": {"alpha": 0.25}},
                "objective": {"id": "feddyn", "parameters": {"alpha": 0.5}},
            }
        },
        "strategy.parameters.alpha: 0.25 of the server optimizer, but 0.5 of the objective; give",
    ),
    (
        {"strategy": {"id": "normalized", "parameters": {"momentum": 0.9}}},
        "strategy.parameters.momentum: 0.9, but agents train with 0.0; leave it out: it is that",
    ),
    (
        {"strategy": {"id": "made", "parameters": {"momentum": 0.9}}},
        "strategy.parameters.momentum: 0.9, but agents train with 0.0; leave it out: it is that",
    ),
    (
        {"strategy": {"continue_state": True}},
        "strategy.continue_state: fedavg keeps no state from round to round; leave it out",
    ),
    (
        {"strategy": {**SCAFFOLD, "continue_state": True}},
        "strategy.continue_state: agents' own arrays of scaffold are of one job, and would begin",
    ),
)


@pytest.mark.parametrize(("keys", "said"), ROWS, ids=[said.partition(",")[0] for _, said in ROWS])
def test_what_cannot_work_together_is_refused(
    install: Install, keys: dict[str, Any], said: str
) -> None:
    """With the key to change, the reason, and what would work."""
    install("acme_normal", ENTRIES, NORMALIZED)
    (found,) = faults(**keys)
    assert found.startswith(said)


@pytest.mark.parametrize(
    "aggregator",
    [
        "krum",
        "multi-krum",
        "bulyan",
        "median",
        "trimmed-mean",
        "geometric-median",
        {"id": "norm-clipping", "parameters": EQUAL},
        "fednova",
        "qfedavg",
        "fedavgopt",
        "mean",
        "normalized",
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "strategy", [SCAFFOLD, FEDDYN, {"objective": "keeps"}], ids=["scaffold", "feddyn", "own"]
)
def test_agents_keep_arrays_only_if_all_updates_count_equally(
    install: Install, strategy: dict[str, Any], aggregator: str | dict[str, Any]
) -> None:
    """An agent adopts its arrays when its update is stored, whatever coefficient it has."""
    install("acme_normal", ENTRIES, NORMALIZED)
    (found,) = faults(
        strategy={**strategy, "aggregator": aggregator}, round={"agents": 8, "quorum": 8}
    )
    id_, objective = aggregator, strategy.get("objective", strategy.get("id"))
    if isinstance(id_, dict):
        id_ = id_["id"]
    assert found == (
        f"strategy.aggregator: {id_} with these parameters does not use all updates equally, but "
        f"the server's arrays match those of objective {objective!r} on agents only then; choose "
        "mean with weighted false, or an objective without arrays of its own, such as proximal"
    )


def test_a_weighted_mean_is_refused_with_scaffold_and_feddyn() -> None:
    """Its parameter makes the difference."""
    for strategy in (SCAFFOLD, FEDDYN):
        (found,) = faults(strategy={**strategy, "parameters": {"weighted": True}})
        assert found.startswith("strategy.aggregator: mean with these parameters does not use all")


def test_both_halves_are_missed_by_each_other(install: Install) -> None:
    """The arrays that they exchange are named."""
    install("acme_normal", ENTRIES, NORMALIZED)
    (uses, half) = faults(strategy={**SCAFFOLD, "objective": "proximal"})
    assert uses == (
        "strategy.objective: the server optimizer uses 'control' of each update, and objective "
        "'proximal' does not add it; choose both parts of one strategy, as the ids scaffold and "
        "feddyn do"
    )
    assert half.endswith("only the server half of scaffold is chosen; choose scaffold here too")
    (reads, adds, half) = faults(strategy={"objective": "scaffold", "parameters": EQUAL})
    assert "the objective reads 'control' of the server, and no server optimizer keeps it" in reads
    assert "the objective adds 'control' to each update, and no server optimizer uses it" in adds
    assert "only the agents' half of scaffold is chosen" in half


@pytest.mark.parametrize(
    "keys",
    [
        {"strategy": "fedavg"},
        {"strategy": KRUM, "round": {"agents": 5, "quorum": 5}},
        {"strategy": "fedadam", "optimizer_config": {"optimizer": "adam"}},
        {"strategy": {"id": "fedadam", "continue_state": True}},
        {"strategy": SCAFFOLD},
        {"strategy": SCAFFOLD, "optimizer_config": {"momentum": 0, "foreach": True}},
        {"strategy": SCAFFOLD, "scheduler_config": {"scheduler": "terminateonnan"}},
        {"strategy": SCAFFOLD, "warmup_config": {"warmup_epochs": 0}},
        {"strategy": {**FEDDYN, "parameters": {"alpha": 0.1}}},
        {"strategy": {**SCAFFOLD, "parameters": EQUAL}},
        {"strategy": {**FEDDYN, "aggregator": "equal"}},
        {"strategy": {**FEDDYN, "update_transforms": [{"id": "halve"}]}},
        {"strategy": {"objective": "keeps", "parameters": EQUAL}},
        {"strategy": "normalized", "optimizer_config": {"momentum": 0.9, "weight_decay": 0.1}},
        {
            "strategy": {"id": "normalized", "parameters": {"momentum": 0.9}},
            "optimizer_config": {"momentum": 0.9},
        },
    ],
)
def test_what_works_together_is_accepted(install: Install, keys: dict[str, Any]) -> None:
    """No rule refuses a job without need."""
    install("acme_normal", ENTRIES, NORMALIZED)
    assert faults(**keys) == []


def test_parameters_of_the_training_are_those_of_the_job(install: Install) -> None:
    """So that FedNova's formula is that of the training."""
    install("acme_normal", ENTRIES, NORMALIZED)
    strategy = resolve_job(
        job(
            strategy={
                "id": "normalized",
                "objective": {"id": "proximal", "parameters": {"proximal_mu": 0.5}},
            },
            optimizer_config={"momentum": 0.9, "lr": 0.2},
        )
    )
    assert strategy.aggregator.parameters == {
        "momentum": 0.9,
        "proximal_mu": 0.5,
        "learning_rate": 0.2,
    }


def test_combinations_of_a_file_with_other_faults_are_not_checked() -> None:
    """The values that have faults are left out of it, so that defaults would be judged."""
    keys = {"strategy": "scaffold"}
    assert faults(**keys)
    assert list(strategy_faults(job(**keys), complete=False)) == []


POISON = """
import sys

class Text(Exception):
    def __str__(self): raise RuntimeError

class Many:
    least_updates = "many"
    def weight(self, facts): return 1.0

class Leaves:
    def weight(self, facts): return 1.0
    @property
    def least_updates(self): sys.exit(3)

class Unreadable(Many):
    def __init__(self): raise Text

class Long(Many):
    def __init__(self): raise ValueError("x" * 9999)

class Facts(Leaves):
    least_updates = 1
    facts = ("Steps of mine",)

class Gram(Leaves):
    least_updates = None
    gram = "all"

class State:
    state = ("no name",)
    needs_population = 1
    def apply(self, base, combined, state): return base
"""
POISON_ENTRIES = """
[fedbus.aggregators]
many = acme_poison:Many
leaves = acme_poison:Leaves
unreadable = acme_poison:Unreadable
long = acme_poison:Long
facts = acme_poison:Facts
gram = acme_poison:Gram
[fedbus.server_optimizers]
state = acme_poison:State
"""


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("many", "least_updates: expected a whole number of at least 1, got 'many'"),
        ("leaves", "least_updates: it cannot be read: it called sys.exit: 3"),
        ("unreadable", "Text, whose text cannot be read"),
        ("long", f"{'x' * 500}…"),
        (
            "facts",
            (
                "facts: expected a tuple of names out of steps, base_loss, norm_bit, got "
                "('Steps of mine',)"
            ),
        ),
        ("gram", "gram: expected 'model' or 'tensors', got 'all'"),
        (
            {"server_optimizer": "state"},
            "state: expected a tuple of at most 8 different names, got ('no name',)",
        ),
    ],
)
def test_an_attribute_that_a_part_must_not_have_is_a_fault_of_the_job(
    install: Install, strategy: object, said: str
) -> None:
    """Also one that cannot be read: the controller goes on."""
    install("acme_poison", POISON_ENTRIES, POISON)
    (found,) = faults(strategy=strategy)
    assert found.startswith("strategy")
    assert found.endswith(f": {said}")
