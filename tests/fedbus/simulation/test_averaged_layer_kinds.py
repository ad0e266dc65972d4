"""Whole rounds of models with every kind of layer: what agents accept can be aggregated."""

from typing import Any

import numpy as np
import pytest

from fedbus.client.packed_model import packed
from fedbus.data import Dataset, from_arrays
from fedbus.model.layout import Layout, Weights
from fedbus.model.sections import trained_tensors
from fedbus.plugins import Trainer
from fedbus.simulation.run import simulate
from fedbus.training.params import Architecture, TrainingParams, Update
from tests.plugin_package import Install

ROWS = {"a": 12, "b": 20, "c": 31}
"""Rows of the agents."""

NETS = '''
import torch
from torch import nn

Flat = nn.Flatten


class Buffers(nn.Module):
    """Buffers of whole numbers and truth values, and a weight of each width."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.narrow = nn.Parameter(torch.zeros(3, dtype=torch.float16))
        self.register_buffer("seen", torch.zeros(2, dtype=torch.int32))
        self.register_buffer("small", torch.zeros((), dtype=torch.uint8))
        self.register_buffer("mask", torch.tensor([True, False, True]))

    def forward(self, x):
        if self.training:
            self.seen += len(x)
            self.small += 1
        return self.out(x.float()) * self.scale.float() + self.narrow.float()


KINDS = {
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)),
    "batch norm of images": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), Flat(), nn.Linear(16, 3)
    ),
    "mean of all batches": lambda: nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8, momentum=None), nn.Linear(8, 3)
    ),
    "layer norm": lambda: nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3)),
    "group norm": lambda: nn.Sequential(nn.Linear(4, 8), nn.GroupNorm(2, 8), nn.Linear(8, 3)),
    "embedding": lambda: nn.Sequential(nn.Embedding(9, 4), Flat(), nn.Linear(16, 3)),
    "half": lambda: nn.Sequential(nn.Linear(4, 3)).half(),
    "brain": lambda: nn.Sequential(nn.Linear(4, 3)).bfloat16(),
    "double": lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).double(),
    "buffers": Buffers,
}


def make(config):
    return KINDS[config["kind"]]()
'''
KINDS = (
    "batch norm", "batch norm of images", "mean of all batches", "layer norm", "group norm",
    "embedding", "half", "brain", "double", "buffers",
)  # fmt: skip
DENSE: list[Any] = ["Dense", {"units": 8}]
LAST: list[Any] = ["Dense", {"units": 3}]
LAYERS: dict[str, tuple[list[Any], str | None]] = {
    "batch norm": ([DENSE, ["BatchNormalization", {}], LAST], None),
    "layer norm": ([DENSE, ["LayerNormalization", {}], LAST], None),
    "embedding": (
        [["Embedding", {"input_dim": 9, "output_dim": 4}], ["Flatten", {}], LAST], None,
    ),
    "float16": ([DENSE, LAST], "float16"),
    "mixed_bfloat16": ([DENSE, ["BatchNormalization", {}], LAST], "mixed_bfloat16"),
    "float64": ([DENSE, ["BatchNormalization", {}], LAST], "float64"),
}  # fmt: skip


class RecordedTrainer:
    """A trainer of a framework, and a note of all that its agents trained."""

    def __init__(self, inner: Any, made: list[Update]) -> None:  # noqa: ANN401 - can do everything
        self.inner = inner
        self._made = made

    def initial(self) -> Weights:
        first: Weights = self.inner.initial()
        return first

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        self._made.append(self.inner.train(weights, data, params))
        return self._made[-1]


class PlayedRound:
    """One round over three agents with different data: the version before, updates, the new one."""

    def __init__(
        self, framework: str, architecture: Architecture, strategy: object, *, words: bool
    ) -> None:
        made: list[Update] = []

        def factory(given: Architecture) -> Trainer:
            return RecordedTrainer(_trainer(framework, given), made)

        watched: Any = factory(architecture)
        self.first: Weights = watched.initial()
        roles = watched.inner.roles()
        self.layout = Layout.of(self.first, roles)
        plain = {"model": "kinds", "architectures": {framework: dict(architecture)}}
        rng = np.random.default_rng(5)
        data = {}
        for at, (name, rows) in enumerate(ROWS.items()):
            x = rng.normal(at, 1 + at, (rows, 4)).astype(np.float32)
            found = rng.integers(0, 9, (rows, 4)) if words else x
            data[name] = from_arrays(found, rng.integers(0, 3, rows))
        job = {
            "training_id": "kinds-1",
            "model_name": "kinds",
            "num_rounds": 1,
            "round": {"agents": 3},
            "config": [{"batch_size": 10, "learning_rate": 0.05}],
            "plugins": {"trainer": framework},
            "strategy": strategy,
        }
        model = packed(plain, self.first, {}, roles)
        played = simulate(job, model, data, own={framework: factory})
        assert played.state.phase == "finished", played.state.reason
        self.updates = sorted(made, key=lambda update: update.examples)
        assert [update.examples for update in self.updates] == sorted(ROWS.values())
        self.found: Weights = played.weights

    def check_means(self, names: set[str], used: tuple[int, ...] = (0, 1, 2)) -> None:
        """Hold tensors against the means, by examples, of the updates that are used."""
        updates = [self.updates[index] for index in used]
        for name in names:
            arrays = [update.weights[name] for update in updates]
            both = np.stack([array.astype(np.float64) for array in arrays])
            mean = np.average(both, axis=0, weights=[update.examples for update in updates])
            found = self.found[name]
            assert found.dtype == self.first[name].dtype
            if found.dtype.kind == "f":
                limit = float(np.finfo(found.dtype).eps) if found.dtype == np.float16 else 1e-6
                np.testing.assert_allclose(found, mean, rtol=limit, atol=limit, err_msg=name)
            elif found.dtype.kind == "b":
                np.testing.assert_array_equal(found, mean > 0.5, err_msg=name)
            else:
                np.testing.assert_array_equal(found, np.rint(mean), err_msg=name)

    @property
    def untrained(self) -> set[str]:
        """Names of statistics, counters and masks."""
        return self.found.keys() - {tensor.name for tensor in trained_tensors(self.layout)}


def _trainer(framework: str, architecture: Architecture) -> Trainer:
    if framework == "torch":
        from fedbus.frameworks.torch import TorchTrainer

        return TorchTrainer(architecture)
    from fedbus.frameworks.keras import KerasTrainer

    return KerasTrainer(architecture)


def torch_round(install: Install, kind: str, strategy: object = "fedavg") -> PlayedRound:
    """Play a round of torch agents."""
    pytest.importorskip("torch")
    install("kinds", "[fedbus.models]\nkinds = kinds:make\n", NETS)
    architecture: Architecture = {"name": "kinds", "config": {"kind": kind}}
    return PlayedRound("torch", architecture, strategy, words=kind == "embedding")


@pytest.mark.parametrize("kind", KINDS)
def test_a_round_of_torch_agents_makes_the_mean_of_every_tensor(
    install: Install, kind: str
) -> None:
    """Statistics to 1e-6, counters to the nearest whole number, masks by the majority."""
    played = torch_round(install, kind)
    played.check_means(set(played.found))
    moved = [n for n, a in played.found.items() if not np.array_equal(a, played.first[n])]
    assert len(moved) >= 2
    if "norm" in kind and "batch" in kind:
        assert len(played.untrained) == 3
        assert np.abs(played.found[min(played.untrained)]).max() > 0
        assert {t.role for t in played.layout.tensors if t.name in played.untrained} == {
            "statistic"
        }


@pytest.mark.parametrize("kind", LAYERS)
def test_a_round_of_keras_agents_makes_the_mean_of_every_tensor(kind: str) -> None:
    """Moving means and variances as well."""
    pytest.importorskip("tensorflow")
    layers, dtype = LAYERS[kind]
    config: dict[str, Any] = {"input": [4], "layers": layers}
    if dtype is not None:
        config["dtype"] = dtype
    architecture: Architecture = {"name": "sequential", "config": config}
    played = PlayedRound("keras", architecture, "fedavg", words=kind == "embedding")
    played.check_means(set(played.found))
    if "norm" in kind and "batch" in kind:
        assert {n.rpartition(".")[2] for n in played.untrained} == {
            "moving_mean",
            "moving_variance",
        }


def test_statistics_follow_no_rule_of_two_passes(install: Install) -> None:
    """FedNova scales the updates of weights; statistics and counters are means by examples."""
    played = torch_round(install, "batch norm", "fednova")
    played.check_means(played.untrained)
    with pytest.raises(AssertionError):
        played.check_means({"0.weight"})


def test_an_update_that_krum_excludes_has_no_part_in_the_statistics(install: Install) -> None:
    """One update is used: weights, statistics and counter are its own."""
    strategy = {"id": "krum", "parameters": {"num_malicious_clients": 0}}
    played = torch_round(install, "batch norm", strategy)
    distances = [
        sum(float(((u.weights[n] - played.found[n]) ** 2).sum()) for n in ("0.weight", "2.weight"))
        for u in played.updates
    ]
    chosen = int(np.argmin(distances))
    assert distances[chosen] < 1e-10 < sorted(distances)[1]
    played.check_means(set(played.found), (chosen,))
