"""A net's last operation and its loss are found, however its author wrote them."""

from collections.abc import Callable

import numpy as np
import pytest

from fedbus.training.params import TrainingParams
from tests.fedbus.frameworks.alike import answers as answers_of
from tests.plugin_package import Install

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from fedbus.client.model_factory import make_model
from fedbus.client.model_outputs import OutputOptions
from fedbus.data import from_arrays
from fedbus.errors import SettingsError, TrainingError
from fedbus.frameworks.torch import TorchTrainer
from fedbus.frameworks.torch.output_layer import declared_loss, output_activation_of

ROWS = torch.zeros(1, 4)
DENSE = nn.Linear(4, 4)


class Net(nn.Module):
    """Ends in whatever a test says."""

    def __init__(self, end: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.dense, self.end = DENSE, end

    def forward(self, x: torch.Tensor) -> object:
        return self.end(self.dense(x))


@pytest.mark.parametrize(
    ("end", "activation"),
    [
        (nn.Softmax(dim=1), "softmax"),
        (lambda x: functional.softmax(x, 1), "softmax"),
        (lambda x: x.view(-1, 2, 2).softmax(2).transpose(1, 2).reshape(-1, 4), "softmax"),
        (nn.Sigmoid(), "sigmoid"),
        (lambda x: torch.sigmoid(x)[:, 0], "sigmoid"),
        (lambda x: {"out": x.sigmoid().double()}, "sigmoid"),
        (lambda x: (x.sigmoid(), x), "sigmoid"),
        (lambda x: x, "scores"),
        (nn.LogSoftmax(dim=1), "scores"),
        (nn.ReLU(), "scores"),
        (lambda x: x.sigmoid() * 10, "scores"),
        (lambda x: x.softmax(1).sum(1), "scores"),
        (lambda _: [], "scores"),
        (lambda x: x.detach(), "scores"),
    ],
)
def test_the_last_operation_is_found(
    end: Callable[[torch.Tensor], object], activation: str
) -> None:
    """A module or a function, behind changes of shape and dtype; the net stays as it was."""
    net = Net(end).train()
    assert output_activation_of(net, ROWS) == activation
    assert net.training
    assert all(weight.grad is None for weight in net.parameters())


def test_chance_is_left_alone() -> None:
    """The same task would else draw other numbers after it."""
    torch.manual_seed(1)
    output_activation_of(Net(lambda x: functional.dropout(x, training=True)), ROWS)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == drawn


def test_a_net_may_hold_its_loss() -> None:
    """Under the names that authors use."""
    net = Net(nn.Softmax(dim=1))
    assert declared_loss(net) is None
    net.loss_fn = nn.BCEWithLogitsLoss()
    assert declared_loss(net) == "binary_crossentropy"
    net.criterion = nn.HuberLoss()
    assert declared_loss(net) == "huber"
    net.criterion = nn.Linear(1, 1)
    assert declared_loss(net) == "binary_crossentropy"


ENTRIES = "[fedbus.models]\n" + "".join(
    f"{name} = their_nets:{name}\n"
    for name in ("one", "logit", "labels", "soft", "rebuilt", "steps", "heads", "plain", "deep")
)
SOURCE = """
from torch import nn


class Loss(nn.Module):
    def __init__(self, loss, layer):
        super().__init__()
        self.layer, self.criterion = layer, loss

    def forward(self, x):
        return self.layer(x)


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x):
        return {"kind": self.a(x), "size": self.b(x)}


def one(config): return nn.Linear(4, 1)
def logit(config): return Loss(nn.BCEWithLogitsLoss(), nn.Linear(4, 1))
def labels(config): return nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())
def soft(config): return nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
def rebuilt(config): return nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 4))
def steps(config): return nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)))
def heads(config): return Heads()
def plain(config): return nn.Linear(4, 3)
def deep(config): return nn.Sequential(nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Linear(6, 3))
"""


@pytest.fixture(autouse=True)
def theirs(install: Install) -> None:
    """Install a package of third-party nets."""
    install("their_nets", ENTRIES, SOURCE)


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("one", "values"),
        ("logit", "logits"),
        ("labels", "labels"),
        ("soft", "probabilities"),
        ("rebuilt", "values"),
        ("steps", "values"),
        ("plain", "classes"),
        ("deep", None),  # its rows are unknown
    ],
)
def test_inference_gives_what_the_net_itself_gives(name: str, answers: str | None) -> None:
    """Number by number; and the push knows what it is."""
    pushed = make_model(f"their_nets:{name}", None, None)
    assert pushed.spec().answers == answers
    trainer = TorchTrainer(pushed.spec().architectures["torch"])
    shape = (5, 1, 4) if name == "deep" else (5, 4)
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    found = answers_of(trainer, x)
    net = trainer._net.eval()  # noqa: SLF001 - what it holds is what it must answer with
    with torch.no_grad():
        own = net(torch.from_numpy(x))
    np.testing.assert_array_equal(found, own.numpy())


def test_a_person_knows_better() -> None:
    """What a model answers and its classes' names are said at the push, and checked against it."""
    said = OutputOptions(answers="labels", classes=("a", "b", "c"))
    spec = make_model("their_nets:plain", None, None, said=said).spec()
    assert (spec.answers, spec.classes) == ("labels", ("a", "b", "c"))
    shape = (1, 4)
    assert make_model("their_nets:deep", None, None, shape).spec().answers == "classes"
    with pytest.raises(SettingsError, match="logits is one score of yes, and the model has 3"):
        make_model("their_nets:plain", None, None, said=OutputOptions(answers="logits"))
    with pytest.raises(SettingsError, match="2 names, and the model has 3 outputs"):
        make_model("their_nets:plain", None, None, said=OutputOptions(classes=("a", "b")))


def test_several_outputs_are_answered_by_name_and_cannot_be_trained() -> None:
    """Which is said at the push, not in the first round."""
    with pytest.raises(TrainingError, match="Heads returns 2 tensors, kind, size; agents train"):
        make_model("their_nets:heads", None, None)
    made, x = TorchTrainer({"name": "heads"}), np.zeros((5, 4), np.float32)
    with pytest.raises(TrainingError, match="answers a dict; one tensor of rows is wanted"):
        made.train(made.initial(), from_arrays(x, np.zeros(5, int)), TrainingParams())
    found = made.predict(x)
    assert isinstance(found, dict)
    assert {name: part.shape for name, part in found.items()} == {"kind": (5, 3), "size": (5, 2)}
