"""A plug-in is tried for real, and what it does wrong is said."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from fedbus.data import Batch, Dataset, npz
from fedbus.errors import LayoutError, PluginError
from fedbus.model.layout import Array, Weights
from fedbus.plugins import Group
from fedbus.simulation.plugin_trial import TrialInputs, try_plugin
from fedbus.strategies.selection import uniform
from fedbus.training.params import Architecture, Metrics, TrainingParams, Update
from tests.typing.plugin_examples import Inverted, Scored, csv, line, rested

BARE = TrialInputs({})


def said(group: Group, made: object, props: TrialInputs = BARE) -> str:
    """Join what a trial says."""
    return "\n".join(try_plugin(group, made, props))


class Net:
    """A matrix that grows by one at each step."""

    def __init__(self, architecture: Architecture) -> None:
        self.how = architecture.get("how", "")
        self.steps = 0

    def initial(self) -> Weights:
        return {"w": np.zeros((3, 2), np.float32)}

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Any:  # noqa: ANN401 - wrong ones as well
        self.steps += 1
        rows = sum(len(x) for x, _ in data.steps(params))
        moved = weights["w"] + np.float32(1)
        match self.how:
            case "in place":
                weights["w"][:] = moved
            case "nan":
                moved *= np.float32(np.nan)
            case "shape":
                moved = moved[:1]
            case "by chance":
                moved *= np.float32(self.steps)
            case "bare":
                return moved
        return Update({"w": moved}, rows, {"loss": 0.5})


class Whole(Net):
    def evaluate(self, weights: Weights, data: Dataset, params: TrainingParams) -> Metrics:
        del weights, data, params
        return {}

    def load(self, weights: Weights) -> None:
        self.matrix = weights["w"]

    def predict(self, inputs: Array) -> Array:
        answers: Array = inputs @ self.matrix
        return answers[:1] if self.how == "one" else answers


def test_a_trainer_takes_a_step_on_rows_that_fit_its_weights() -> None:
    """And says what it can and cannot do."""
    assert said("trainers", Net).splitlines() == [
        "initial: 1 arrays, 6 numbers",
        "train: one step moved the weights by 6; metrics loss 0.5",
        "evaluate: not implemented; its models are compared by their training metrics",
    ]
    whole = said("trainers", Whole).splitlines()
    assert whole[2:] == ["evaluate: none", "predict: float32 (8, 2) for (8, 3)"]


@pytest.mark.parametrize(
    ("how", "error", "sentence"),
    [
        ("in place", PluginError, "changed the weights that it was given"),
        ("nan", PluginError, "got NaN or infinity in w"),
        ("shape", LayoutError, "where the layout has float32"),
        ("bare", PluginError, "expected a fedbus.Update, got a ndarray"),
        ("one", PluginError, "one output for each row"),
    ],
)
def test_what_a_trainer_does_wrong_is_named(
    how: str, error: type[Exception], sentence: str
) -> None:
    """Before a fleet finds out."""
    with pytest.raises(error, match=sentence):
        said("trainers", Whole, TrialInputs({"how": how}))


def test_a_trainer_that_leaves_things_to_chance_is_told() -> None:
    """It is no error: some cannot help it."""
    assert "cannot be replayed" in said("trainers", Net, TrialInputs({"how": "by chance"}))


def test_data_of_ones_own_is_needed_where_no_weight_is_a_matrix(tmp_path: Path) -> None:
    """A line's weights say nothing of classes."""
    with pytest.raises(PluginError, match=r"use --data FILE.npz"):
        said("trainers", Scored)
    file = tmp_path / "shard.npz"
    np.savez(file, x=np.ones((4, 1), np.float32), y=np.ones(4, np.float32))
    assert "evaluate: loss" in said("trainers", Scored, TrialInputs({}, data=npz(str(file))))


def test_a_runtime_answers_with_weights_it_is_given() -> None:
    """Without any it is only made."""
    assert "use --model" in said("runtimes", Whole)
    weights = {"w": np.ones((3, 2), np.float32)}
    assert "float32 (8, 2)" in said("runtimes", Whole, TrialInputs({}, weights=weights))


@pytest.mark.parametrize(
    ("group", "made", "sentence"),
    [
        ("selectors", uniform, "selected 5 of 10 agents"),
        ("selectors", rested, "selected 5 of 10 agents: agent.6, agent.3, agent.9"),
        ("models", line, "made a ndarray of {}"),
        ("transforms", Inverted, " (height, width, channels) float32 becomes image 8 x 8 x 3"),
        ("loaders", csv, "use --data PATH"),
    ],
)
def test_each_kind_is_tried(group: Group, made: object, sentence: str) -> None:
    """The sentence says what it did."""
    assert sentence in said(group, made)


def test_a_loader_reads_what_it_is_given(tmp_path: Path) -> None:
    """And returns a data set."""
    file = tmp_path / "rows.csv"
    file.write_text("0.5,1\n0.25,0\n")
    assert "2 examples" in said("loaders", csv, TrialInputs({}, path=str(file)))
    with pytest.raises(PluginError, match=r"expected a fedbus.Dataset, got a str"):
        said("loaders", str, TrialInputs({}, path="x"))


@pytest.mark.parametrize(
    ("group", "made", "sentence"),
    [
        ("selectors", lambda _agents, _want, _rng: ["agent.x"], "of the given agents"),
        ("selectors", lambda agents, _want, _rng: [a.agent for a in agents], "at most 5"),
        ("selectors", lambda _agents, _want, _rng: ["agent.1"] * 2, "each once"),
    ],
)
def test_what_a_function_does_wrong_is_named(
    group: Group, made: Callable[..., object], sentence: str
) -> None:
    """Before a round is lost to it."""
    with pytest.raises(PluginError, match=sentence):
        said(group, made)


class Dims(Inverted):
    """Does one thing wrong, or another."""

    def transform_data(self, batch: Batch, _: np.random.Generator) -> Batch:
        x, y = batch
        if self.white == 0:
            x *= np.float32(0.5)
        return x * np.float32(np.random.default_rng().random()), y


def test_a_transform_is_tried_on_pictures_or_on_rows_of_ones_own(tmp_path: Path) -> None:
    """With the parameters that a pipeline would give it."""
    np.savez(tmp_path / "rows.npz", x=np.ones((3, 4)), y=np.zeros(3, int))
    own = TrialInputs({"white": 9}, data=npz(str(tmp_path / "rows.npz")))
    assert "3 rows of x float32 (4,) and y int64 ()" in said("transforms", Inverted, own)
    assert "cannot be replayed" in said("transforms", Dims)
    with pytest.raises(PluginError, match="changed the rows that it was given"):
        said("transforms", Dims, TrialInputs({"white": 0}))
    with pytest.raises(PluginError, match="'black'; it takes white"):
        said("transforms", Inverted, TrialInputs({"black": 0}))


def test_a_selector_with_chance_of_its_own_is_told() -> None:
    """All chance comes from the round's."""
    own = Random(3)
    sentence = said("selectors", lambda agents, _w, _r: [own.choice(agents[:9]).agent])
    assert "cannot be replayed" in sentence
