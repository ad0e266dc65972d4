"""A strategy's half at the agent: terms of the loss, sections of the update, transforms of it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset
from fedbus.errors import FedbusError, PluginError, TrainingError
from fedbus.model.blob import decode, encode
from fedbus.model.layout import Array, Layout, Weights
from fedbus.model.sections import split_section, state_layout, update_layout
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import Architecture, PluginChoice, TrainingParams, Update
from fedbus.wire.blobs import ModelRef, blob_ref_of
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.task_runner import Model, StrategyBlobs, TrainingResult
from tests.edge_agent.harness import REPOSITORY, train
from tests.edge_agent.training.strategy_package import install_strategies
from tests.edge_agent.training.test_local_trainer import learnable_data
from tests.plugin_package import Install

ARRAYS: Weights = {
    "a": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "b": np.linspace(2, 3, 6, dtype=np.float32).reshape(2, 3),
    "c": np.linspace(5, 6, 4, dtype=np.float64),
    "mean": np.ones(3, np.float32),
    "own": np.ones(2, np.float32),
    "seen": np.array(3, np.int64),
}
LAYOUT = Layout.of(ARRAYS, {"mean": "statistic", "own": "local"})
TRAINED = ("a", "b", "c")
NUMBERS = 16
SPEC = ModelSpec(
    model="tiny",
    layout=tuple(
        TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype, role=t.role) for t in LAYOUT.tensors
    ),
    architectures={"slope": {}, "plain": {}},
)
MODEL = Model(SPEC, LAYOUT, {})
BASE = bytes(encode(ARRAYS, LAYOUT))
RATE = 0.5
PARAMS = TrainingParams(batch_size=8, epochs=2, learning_rate=RATE, seed=7)
STEPS = 10


class Plain:
    """A trainer whose loss falls by 1 with each number of each trained tensor."""

    def __init__(self, _architecture: Architecture) -> None:
        self.terms = LocalTerms()

    def initial(self) -> Weights:
        return ARRAYS

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        new: dict[str, Array] = {name: array.copy() for name, array in weights.items()}
        for _ in data.steps(params):
            for name in TRAINED:
                pull = self.terms.proximal * (new[name] - weights[name])
                gradient = 1 + self.terms.linear.get(name, 0) + pull
                new[name] -= params.learning_rate * gradient
            new["seen"] += 1
        self.terms = LocalTerms()
        return Update(new, data.examples, {"loss": 0.5})


class Slope(Plain):
    """The same one, which can add terms to its loss."""

    def use_local_terms(self, terms: LocalTerms) -> None:
        self.terms = terms


@pytest.fixture(autouse=True)
def _plugins(install: Install) -> None:
    install_strategies(install)


def task_of(
    objective: str | None = None,
    *transforms: tuple[str, dict[str, Any]],
    state: bytes | None = None,
    sections: tuple[str, ...] = (),
    **parameters: Any,  # noqa: ANN401 - those of the objective
) -> TrainTask:
    """Return a task whose strategy has these parts."""
    ref = ModelRef(
        model="tiny", version=1, weights=blob_ref_of(BASE), spec=blob_ref_of(b""), source=REPOSITORY
    )
    chosen = None if objective is None else PluginChoice(id=objective, parameters=parameters)
    steps = tuple(PluginChoice(id=name, parameters=given) for name, given in transforms)
    return train(
        base=ref,
        params=replace(PARAMS, objective=chosen, update_transforms=steps),
        sections=sections,
        state_names=("variate",),
        state=None if state is None else blob_ref_of(state),
    )


def trainer_in(folder: Path, preferred: str = "slope") -> LocalTrainer:
    """Return a local trainer."""
    own = {"slope": Slope, "plain": Plain}
    return LocalTrainer(Outbox(folder), learnable_data(40), preferred, own)


def trained(
    folder: Path, task: TrainTask, state: bytes | None = None, preferred: str = "slope"
) -> TrainingResult:
    """Train a task."""
    local_trainer = trainer_in(folder, preferred)
    return local_trainer.train(task, MODEL, BASE, TaskControl(), StrategyBlobs(state))


def arrays_of(result: TrainingResult, sections: tuple[str, ...] = ()) -> dict[str, Array]:
    """Return the arrays of an update."""
    blob = result.source.read(0, result.source.size)
    return decode(blob, update_layout(LAYOUT, sections), "delta")


def state_of(value: float) -> bytes:
    """Return the blob of the server's state: its control variate has one value everywhere."""
    layout = state_layout(LAYOUT, ("variate",))
    return bytes(encode({"variate": np.full(NUMBERS, value, np.float32)}, layout))


def everywhere(update: Mapping[str, Array], value: float) -> bool:
    """Return whether all trained numbers have changed by this value, and whole numbers by steps."""
    close = (np.allclose(update[name], value, rtol=1e-5) for name in TRAINED)
    return all(close) and int(update["seen"]) == STEPS and not update["mean"].any()


def test_without_a_strategy_an_update_is_the_plain_difference(tmp_path: Path) -> None:
    """No method of a trainer is called for it."""
    update = arrays_of(trained(tmp_path, task_of(), preferred="plain"))
    assert everywhere(update, -RATE * STEPS)
    assert update.keys() == {*TRAINED, "mean", "seen"}


def test_a_proximal_term_pulls_the_weights_to_the_base(tmp_path: Path) -> None:
    """As the recursion of one number does."""
    moved = 0.0
    for _ in range(STEPS):
        moved -= RATE * (1 + 0.25 * moved)
    assert everywhere(arrays_of(trained(tmp_path, task_of("prox", mu=0.25))), moved)


@pytest.mark.parametrize("value", [None, 0.25])
def test_an_objective_gets_the_servers_arrays_and_adds_a_section_to_the_update(
    tmp_path: Path, value: float | None
) -> None:
    """Zeros without a state. With an own variate of 0 the drift is that of plain SGD."""
    state = None if value is None else state_of(value)
    task = task_of("drift", state=state, sections=("variate",))
    update = arrays_of(trained(tmp_path, task, state), ("variate",))
    assert everywhere(update, -RATE * STEPS * (1 + (value or 0.0)))
    section = split_section(update["section:variate"], LAYOUT)
    assert section.keys() == set(TRAINED)
    # Option II of SCAFFOLD, where K steps of rate 1/2 have made the difference: it is the gradient.
    assert all(np.allclose(array, 1.0, rtol=1e-5) for array in section.values())


def test_a_trainer_without_terms_declines_an_objective(tmp_path: Path) -> None:
    """It would train something else than the job says; terms that add nothing are no reason."""
    with pytest.raises(PluginError, match=r"trainer plain cannot add terms to its loss, .* 'prox'"):
        trained(tmp_path, task_of("prox"), preferred="plain")
    assert list(tmp_path.glob("*.update")) == []
    assert everywhere(
        arrays_of(trained(tmp_path, task_of("prox", mu=0), preferred="plain")), -RATE * STEPS
    )


def test_terms_are_those_of_one_training_only(tmp_path: Path) -> None:
    """A trainer is used again for the next task, which may have no objective."""
    local_trainer = trainer_in(tmp_path)
    for task, moved in ((task_of("prox", mu=2), -RATE), (task_of(), -RATE * STEPS)):
        result = local_trainer.train(task, MODEL, BASE, TaskControl())
        assert everywhere(arrays_of(result), moved)


def test_transforms_change_the_differences_of_trained_tensors_in_their_order(
    tmp_path: Path,
) -> None:
    """Others are left as they are, and so are sections; a half for the collector is not run."""
    task = task_of(
        "drift",
        ("scale", {"by": 2.0}),
        ("combined", {}),
        ("scale", {"by": 0.25}),
        sections=("variate",),
    )
    update = arrays_of(trained(tmp_path, task), ("variate",))
    assert everywhere(update, -RATE * STEPS * 0.5)
    assert np.allclose(update["section:variate"], 1.0)


def test_a_transform_may_return_views_of_what_it_was_given(tmp_path: Path) -> None:
    """Two tensors that change places are not overwritten by each other."""
    task = task_of(None, ("noise", {}))
    first = arrays_of(trained(tmp_path, task))
    swapped = arrays_of(trained(tmp_path, task_of(None, ("noise", {}), ("swap", {}))))
    assert np.array_equal(swapped["a"], first["b"])
    assert np.array_equal(swapped["b"], first["a"])
    assert not np.array_equal(first["a"], first["b"])
    alone = arrays_of(trained(tmp_path, task_of(None, ("swap", {}))))
    assert everywhere(alone, -RATE * STEPS)


def test_the_chance_of_transforms_comes_from_the_tasks_seed(tmp_path: Path) -> None:
    """So a repeated task gives the same update, and another task another one."""
    task = task_of(None, ("noise", {}), ("noise", {}))
    first, again = (arrays_of(trained(tmp_path / name, task)) for name in ("1", "2"))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    other = replace(task, params=replace(task.params, seed=8))
    assert not np.array_equal(arrays_of(trained(tmp_path, other))["a"], first["a"])


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("type", "objective 'wrong': terms: expected a fedbus.LocalTerms, got 5"),
        ("foreign", "objective 'wrong': terms: linear: no trained tensor is named nowhere"),
        ("shape", r"objective 'wrong': terms: linear: 'a': .* \(2, 3\), got .* \(3,\)"),
        ("list", r"objective 'wrong': terms: linear: 'a': .* shape \(2, 3\), got a list"),
        ("inf", "objective 'wrong': terms: linear: 'a': a number is NaN or infinite in float32"),
        ("nan", "objective 'wrong': terms: proximal: .* number of at least 0, got nan"),
        ("text", "objective 'wrong': terms: proximal: .* number of at least 0, got a str"),
        ("exit", "tried to exit"),
        ("end", "objective 'wrong': after: expected a fedbus.LocalEnd, got a NoneType"),
        ("own lacks", "objective 'wrong': after: own: no array for b, c"),
        ("own nan", "objective 'wrong': after: own: 'a': a number is NaN or infinite"),
        ("own list", "objective 'wrong': after: own: expected arrays by tensor name, got a list"),
        ("section shape", r"objective 'wrong': after: section 'variate': 'a': expected an array"),
        ("complex", "objective 'wrong': after: section 'variate': 'a': .*complex"),
        ("no section", "objective 'wrong': after: expected sections variate, got none"),
        ("more", "objective 'wrong': after: expected sections variate, got unasked, variate"),
    ],
)
def test_what_an_objective_returns_is_checked(tmp_path: Path, what: str, reason: str) -> None:
    """The task is declined with the plug-in's name, and nothing of it is stored."""
    with pytest.raises(TrainingError, match=reason):
        trained(tmp_path, task_of("wrong", what=what, sections=("variate",)))
    assert list(tmp_path.glob("*.update")) == []


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("type", "update transform 'spoil': transform_update: expected arrays by tensor name, got"),
        ("lacks", "update transform 'spoil': transform_update: no array for b, c"),
        ("foreign", "update transform 'spoil': transform_update: .* is named nowhere"),
        ("dtype", "update transform 'spoil': transform_update: 'a': expected float32, got float64"),
        ("nan", "update transform 'spoil': transform_update: 'a': a number is NaN or infinite"),
        ("list", "update transform 'spoil': transform_update: 'a': .*got a list"),
    ],
)
def test_what_a_transform_returns_is_checked(tmp_path: Path, what: str, reason: str) -> None:
    """One that returns another layout would spoil the round."""
    with pytest.raises(TrainingError, match=reason):
        trained(tmp_path, task_of(None, ("spoil", {"what": what})))


def test_a_transform_cannot_change_its_input(tmp_path: Path) -> None:
    """The next one, or an objective, may still read it."""
    with pytest.raises(ValueError, match="read-only"):
        trained(tmp_path, task_of(None, ("spoil", {"what": "in place"})))


@pytest.mark.parametrize(
    ("objective", "name"), [(None, "none"), ("prox", "prox")], ids=["none", "prox"]
)
def test_a_section_that_no_part_makes_is_missed_before_the_training(
    tmp_path: Path, objective: str | None, name: str
) -> None:
    """An operator reads which objective the job has."""
    with pytest.raises(TrainingError, match=rf"'variate' of updates, .* objective \({name}\)"):
        trained(tmp_path, task_of(objective, sections=("variate",)))


def test_an_objective_that_keeps_nothing_adds_nothing(tmp_path: Path) -> None:
    """It may only want to know the steps."""
    assert everywhere(arrays_of(trained(tmp_path, task_of("empty"))), -RATE * STEPS)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (task_of("lost"), "no objectives plug-in named 'lost'"),
        (task_of(None, ("lost", {})), "no update_transforms plug-in named 'lost'"),
        (task_of("prox", mu=-1), "objectives plug-in 'prox': mu is -1, expected at least 0"),
        (task_of("prox", nu=1), "objectives plug-in 'prox': .*unexpected keyword argument 'nu'"),
        (task_of("nothing"), "objectives plug-in 'nothing': it has no method terms"),
    ],
)
def test_a_part_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, task: TrainTask, reason: str
) -> None:
    """Before the trainer is loaded."""
    with pytest.raises(PluginError, match=reason):
        trained(tmp_path, task)


def test_a_part_that_is_not_allowed_is_refused_before_the_task_is_accepted(tmp_path: Path) -> None:
    """The owner of the data decides which code runs on them."""
    local_trainer = LocalTrainer(
        Outbox(tmp_path), learnable_data(), None, {"slope": Slope}, allowed=("prox",)
    )
    local_trainer.check_strategy(task_of("prox").params)
    for task, reason in (
        (task_of("drift"), "objectives plug-in 'drift' of acme_strategy is not allowed here"),
        (task_of("prox", ("noise", {})), "update_transforms plug-in 'noise' .* not allowed here"),
    ):
        with pytest.raises(PluginError, match=reason):
            local_trainer.check_strategy(task.params)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda state: state[:-1] + b"\x01", "bytes are not those of its digest"),
        (lambda _: BASE, "a blob of layout"),
    ],
)
def test_a_damaged_state_of_the_strategy_is_refused(
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
    reason: str,
) -> None:
    """Its digest and its header are checked as those of the base are."""
    state = state_of(0.5)
    found = damage(state)
    named = state if "digest" in reason else found
    with pytest.raises(FedbusError, match=reason):
        trained(tmp_path, task_of("drift", state=named), found)
