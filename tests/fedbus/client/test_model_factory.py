"""A model from its author's own code."""

import numpy as np
import pytest

from fedbus.client.model_factory import is_factory, make_model
from fedbus.data import from_arrays
from fedbus.errors import LayoutError, SettingsError, TrainingError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.training.params import TrainingParams
from tests.plugin_package import Install

pytest.importorskip("torch")

from fedbus.frameworks.torch import TorchTrainer

ENTRIES = "[fedbus.models]\nlenet = theirs:lenet\nrandom = theirs:random\ntext = theirs:text\n"
SOURCE = """
from torch import nn
from fedbus.errors import TrainingError


class LeNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.out = nn.Linear(8, classes)

    def forward(self, x):
        return self.out(self.conv(x).relu().flatten(1))


def lenet(config):
    classes = config.get("classes", 2)
    if type(classes) is not int or not 0 < classes < 1000:
        raise TrainingError("lenet is configured by classes, 1 to 999")
    return LeNet(classes)


def plain(classes=2):
    return LeNet(classes)


def text(config):
    return "no model"


calls = []


def leaving():
    raise SystemExit(3)


def random(config):
    calls.append(config)
    return LeNet(len(calls))
"""
CONFIG = {"classes": 3}


def test_a_factory_that_wants_to_exit_is_a_sentence(install: Install) -> None:
    """Its exit code would be taken for ours: 3 means that no service answers."""
    with pytest.raises(SettingsError, match="theirs:leaving: it wanted to exit: 3"):
        make_model("theirs:leaving", None, None)
    install("gone", "", "raise SystemExit(3)")
    with pytest.raises(SettingsError, match="gone:model: its module wanted to exit: 3"):
        make_model("gone:model", None, None)


@pytest.fixture(autouse=True)
def theirs(install: Install) -> None:
    """Install a small package of models."""
    install("theirs", ENTRIES, SOURCE)


def test_what_a_factory_makes_is_pushed_as_data() -> None:
    """The spec names the plug-in and its config; the weights are those of the module made here."""
    made = make_model("theirs:lenet", None, CONFIG)
    spec = made.spec()
    assert spec.model == "lenet"
    assert spec.architectures == {"torch": {"name": "lenet", "config": CONFIG}}
    assert set(made.blobs) == {made.push.spec.digest, made.push.weights.digest}
    weights = decode(made.blobs[made.push.weights.digest], Layout.read(spec.layout))
    assert weights["out.weight"].shape == (8, 3)


def test_the_shape_of_a_row_is_said_where_a_model_does_not_say_it() -> None:
    """So that agents whose data are otherwise refuse it before they train."""
    assert make_model("theirs:lenet", None, CONFIG).spec().input == {}
    flat = make_model("theirs:lenet", None, CONFIG, (64,)).spec()
    assert flat.input == {"data_types": {"numerical": {"size": [64]}}}
    image = make_model("theirs:lenet", None, CONFIG, (1, 4, 4)).spec()
    assert image.input == {"data_types": {"image": {"size": [1, 4, 4]}}}


def test_an_agent_trains_what_was_pushed() -> None:
    """It builds the model again by its name, and takes the weights that came."""
    made = make_model("theirs:lenet", "pictures", None)
    spec = made.spec()
    assert spec.model == "pictures"
    weights = decode(made.blobs[made.push.weights.digest], Layout.read(spec.layout))
    rows = np.random.default_rng(0).random((8, 1, 4, 4), np.float32)
    data = from_arrays(rows, np.arange(8) % 2)
    update = TorchTrainer(spec.architectures["torch"]).train(
        weights, data, TrainingParams(batch_size=4)
    )
    assert not np.array_equal(update.weights["out.bias"], weights["out.bias"])


def test_weights_from_a_file_take_the_place_of_the_factorys() -> None:
    """So an older version, pulled, can be pushed back; what does not fit is named."""
    own = {
        name: np.full(array.shape, 0.5, np.float32)
        for name, array in TorchTrainer({"name": "lenet"}).initial().items()
    }
    made = make_model("theirs:lenet", None, None, None, own)
    found = decode(made.blobs[made.push.weights.digest], Layout.read(made.spec().layout))
    assert all((array == 0.5).all() for array in found.values())
    del own["out.bias"]
    with pytest.raises(LayoutError, match=r"weights lack out\.bias"):
        make_model("theirs:lenet", None, None, None, own)


def test_first_weights_of_a_plug_in_come_of_the_seed_alone() -> None:
    """Whatever else draws from torch's stream."""
    architecture = {"name": "lenet", "config": {"seed": 3}}
    first, again = (TorchTrainer(architecture).initial()["conv.weight"] for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("theirs:plain", 'no agent can make a LeNet again.*"fedbus.models"'),
        ("theirs:random", "'random' makes another layout than LeNet has"),
    ],
)
def test_what_no_agent_could_make_again_is_refused(where: str, sentence: str) -> None:
    """Code does not cross the bus."""
    with pytest.raises(TrainingError, match=sentence):
        make_model(where, None, None)


@pytest.mark.parametrize(
    ("where", "config", "sentence"),
    [
        ("nowhere:net", None, "nowhere:net: ModuleNotFoundError: No module named 'nowhere'"),
        ("theirs:net", None, "AttributeError.*'net'"),
        ("theirs:calls", None, "a list, which cannot be called"),
        ("theirs:lenet", {"classes": 0}, "TrainingError: lenet is configured by classes"),
        ("theirs:text", None, "it made a str; a model of .*torch.* is wanted"),
        ("theirs:plain", CONFIG, "theirs:plain: TypeError"),
    ],
)
def test_what_makes_no_model_is_refused_with_the_reason(
    where: str, config: dict[str, object] | None, sentence: str
) -> None:
    """With the factory's name before it."""
    with pytest.raises(SettingsError, match=sentence):
        make_model(where, None, config)


def test_a_architecture_names_a_plug_in_that_makes_a_module() -> None:
    """A model plug-in of another framework is none for torch."""
    with pytest.raises(TrainingError, match=r"'text' made a str, not a torch\.nn\.Module"):
        TorchTrainer({"name": "text"})
    with pytest.raises(TrainingError, match=r"there is bag_of_words, lenet, mlp"):
        TorchTrainer({"name": "vgg"})


@pytest.mark.parametrize("said", ["a:b", "own_models.nets:Nets.small"])
def test_a_factory_is_told_from_a_file(said: str) -> None:
    """A module, a colon and a name."""
    assert is_factory(said)
    assert not is_factory(said.replace(":", "/") + ".json")
