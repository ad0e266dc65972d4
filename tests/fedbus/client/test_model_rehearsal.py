"""Trial of a model before it is pushed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fedbus.cli.inputs.model_argument import ModelOptions, packed_model
from fedbus.cli.main import app
from fedbus.client.model_rehearsal import rehearse
from fedbus.errors import LayoutError, SettingsError, TrainingError
from fedbus.model.npz import write_npz
from tests.plugin_package import Install

pytest.importorskip("torch")

ENTRIES = "[fedbus.models]\nrehearsed = rehearsed:make\n"
SOURCE = '''
import torch
from torch import nn


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x):
        return {"kind": self.a(x), "size": self.b(x)}


class Inputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 3)

    def forward(self, x, mask):
        return self.a(x * mask)


class Frozen(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)
        self.requires_grad_(False)


class Breaks(nn.Linear):
    def forward(self, x):
        return super().forward(x) / torch.zeros(1)


class Odd(nn.Module):
    """Takes what no first layer tells."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x.reshape(len(x), 5, 3).mean(dim=1) * self.scale


NETS = {
    "heads": Heads,
    "inputs": Inputs,
    "frozen": Frozen,
    "breaks": lambda: Breaks(4, 3),
    "odd": Odd,
    "fine": lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)),
    "pictures": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)),
    "words": lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(32, 3)),
    "lazy": lambda: nn.LazyLinear(3),
    "complex": lambda: nn.Linear(4, 3, dtype=torch.complex64),
    "price": lambda: nn.Linear(4, 1),
    "loud": lambda: print("hello from a factory") or nn.Linear(4, 3),
}


def make(config):
    return NETS[config["net"]]()
'''


@pytest.fixture(autouse=True)
def nets(install: Install) -> None:
    """Install a package of nets, of which some cannot be trained."""
    install("rehearsed", ENTRIES, SOURCE)


def given(net: str, shape: str | None = None, **more: Any) -> ModelOptions:  # noqa: ANN401 - any field
    """Write a spec of this net, with the shape of a row where there is one."""
    return ModelOptions(config=json.dumps({"net": net}), shape=shape, **more)


@pytest.mark.parametrize(
    ("net", "shape"), [("fine", None), ("fine", "4"), ("pictures", None), ("words", None)]
)
def test_what_trains_is_packed_without_a_word(
    net: str, shape: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no shape of a row is given, the first layer shows it."""
    made = packed_model("rehearsed:make", given(net, shape))
    assert made.spec().architectures == {"torch": {"name": "rehearsed", "config": {"net": net}}}
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("net", "least"), [("fine", 2), ("words", 1)])
def test_a_spec_says_how_many_rows_a_batch_needs(net: str, least: int, tmp_path: Path) -> None:
    """A job of smaller batches is refused when it is submitted; a spec that is read says it too."""
    assert packed_model("rehearsed:make", given(net)).spec().least_batch == least
    architecture = {"name": "rehearsed", "config": {"net": net}}
    plain = {"model": "m", "architectures": {"torch": architecture}}
    (tmp_path / "spec.json").write_text(json.dumps(plain))
    assert packed_model(str(tmp_path / "spec.json"), ModelOptions()).spec().least_batch == least


@pytest.mark.parametrize(
    ("net", "shape", "sentence"),
    [
        ("heads", None, "2 (outputs|tensors), kind, size; agents train models of one output"),
        ("inputs", None, r"architectures\.torch: .*missing 1 required positional argument: 'mask'"),
        ("frozen", "4", "architectures.torch: it does not train with rows of"),
        ("breaks", "4", "a lower learning_rate may help|not finite"),
        ("fine", "5", r"with rows of \(5\): the model cannot take x"),
    ],
)
def test_what_would_fail_on_every_agent_is_refused(
    net: str, shape: str | None, sentence: str
) -> None:
    """With its framework, and in the framework's own words."""
    with pytest.raises(TrainingError, match=sentence):
        packed_model("rehearsed:make", given(net, shape))


@pytest.mark.parametrize(("net", "name"), [("lazy", "'weight' is lazy"), ("complex", "complex64")])
def test_what_no_layout_holds_is_refused_by_the_tensors_name(net: str, name: str) -> None:
    """Before it is tried."""
    with pytest.raises(LayoutError, match=f"tensor .*{name}"):
        packed_model("rehearsed:make", given(net))


def test_a_net_with_unknown_rows_is_pushed_with_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It may be well; with --input it is tried."""
    packed_model("rehearsed:make", given("odd"))
    said = capsys.readouterr().err.replace("\n", " ")
    assert (
        "warning: its torch architecture was not tried: nothing says what a row looks like; give "
        'the shape of a row: "input" in the spec, or --input (in Python input_shape=)' in said
    )
    packed_model("rehearsed:make", given("odd", "15"))
    assert capsys.readouterr().err == ""


def test_the_output_of_a_factory_goes_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The other stream is what `--json` answers on."""
    packed_model("rehearsed:make", given("loud"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "hello from a factory" in err


@pytest.mark.parametrize("stated", [True, False])
def test_weights_of_another_dtype_than_the_models_are_refused_by_name(
    stated: bool, tmp_path: Path
) -> None:
    """Numpy makes float64 of everything, and every round of such a model failed."""
    rng = np.random.default_rng(0)
    weights = {"layers.0.weight": rng.normal(size=(4, 3)), "layers.0.bias": np.zeros(3)}
    write_npz(tmp_path / "w.npz", weights)
    spec: dict[str, Any] = {
        "model": "mlp",
        "architectures": {"torch": {"name": "mlp", "config": {"layers": [4, 3]}}},
    }
    if stated:
        shapes = {name: list(array.shape) for name, array in weights.items()}
        spec["layout"] = [
            {"name": name, "shape": shape, "dtype": "float32"} for name, shape in shapes.items()
        ]
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    with pytest.raises((LayoutError, TrainingError), match=r"'layers\.0\.\w+': float64"):
        packed_model(str(tmp_path / "spec.json"), ModelOptions(weights=tmp_path / "w.npz"))


def test_options_of_a_factory_do_not_go_with_a_spec(tmp_path: Path) -> None:
    """The spec says all that itself."""
    (tmp_path / "spec.json").write_text("{}")
    for more in (ModelOptions(config="{}"), ModelOptions(shape="4")):
        with pytest.raises(
            SettingsError,
            match="a config, the shape of a row and local terms belong to a factory",
        ):
            packed_model(str(tmp_path / "spec.json"), more)


def test_a_model_of_a_spec_can_be_given_another_name(tmp_path: Path) -> None:
    """Then its weights are pushed as another model."""
    architectures = {"torch": {"name": "mlp", "config": {"layers": [4, 3]}}}
    (tmp_path / "spec.json").write_text(
        json.dumps({"model": "mlp", "architectures": architectures})
    )
    named = packed_model(str(tmp_path / "spec.json"), ModelOptions(name="other"))
    assert (named.push.model, named.spec().model) == ("other", "other")


def test_a_framework_that_is_not_here_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user may push from a machine without it."""
    made = packed_model("rehearsed:make", given("fine"))
    monkeypatch.setitem(__import__("sys").modules, "fedbus.frameworks.torch", None)
    (said,) = rehearse(made)
    why = "fedbus.frameworks.torch is not installed here"
    assert said == f"its torch architecture was not tried: {why}"


def simulated(folder: Path, job: dict[str, Any], *words: str) -> Any:  # noqa: ANN401 - typer's
    """Run `fedbus simulate`."""
    (folder / "job.json").write_text(json.dumps(job))
    return CliRunner().invoke(app, ["simulate", str(folder / "job.json"), *words])


def test_a_factory_is_simulated_under_the_jobs_own_name(tmp_path: Path) -> None:
    """The same words as for `models push`; batch normalisation is averaged through whole rounds."""
    rng = np.random.default_rng(0)
    for name, rows in (("agent.1", 33), ("agent.2", 40), ("held_out", 20)):
        x = rng.normal(size=(rows, 4)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=x, y=x[:, :3].argmax(axis=1))
    job = {
        "training_id": "s-1",
        "model_name": "anything",
        "num_rounds": 2,
        "round": {"agents": 2},
        "config": [{"batch_size": 16, "learning_rate": 0.2, "epochs": 3}],
    }
    config = ("--model", "rehearsed:make", "--config", '{"net": "fine"}')
    named = ("--answers", "classes", "--classes", "left,middle,right")
    done = simulated(tmp_path, job, "--data", str(tmp_path), *config, *named, "--json")
    assert done.exit_code == 0, done.output
    end = json.loads(done.stdout)
    assert (end["model"], end["version"]) == ("anything", 3)


@pytest.mark.parametrize(
    ("loss", "code", "sentence"),
    [
        ({}, 2, "eval_func: missing: model anything answers values"),
        ({"eval_func": "binary_crossentropy"}, 0, "a loss of values is mse (or mae, huber)"),
    ],
    ids=["none", "another"],
)
def test_a_loss_that_cannot_train_a_model_of_quantities_is_told_in_a_simulation_too(
    loss: dict[str, str], code: int, sentence: str, tmp_path: Path
) -> None:
    """On agents the rounds would fail, without the name of the missing key."""
    for name in ("agent.1", "agent.2", "held_out"):
        x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=x, y=(x[:, 0] > 0).astype(np.float32))
    job = {"training_id": "s-1", "model_name": "anything", "num_rounds": 1, "round": {"agents": 2}}
    words = ("--data", str(tmp_path), "--model", "rehearsed:make", "--config", '{"net": "price"}')
    done = simulated(tmp_path, job | loss, *words)
    assert sentence in " ".join(done.output.split())
    assert done.exit_code == code, done.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--model", "nowhere:net"), "nowhere:net: ModuleNotFoundError"),
        (("--model", "rehearsed:NETS"), "a dict, which cannot be called"),
        (("--model", "rehearsed:make", "--config", "{"), "--config: not JSON"),
        (("--model", "rehearsed:make", "--config", '{"net": "inputs"}'), "missing 1 required"),
        ((), "model_name: expected 'digits', the simulated model, got 'm'; name that model's"),
        (("--config", "{}"), "--weights, --config, --input, --answers and --classes need"),
    ],
)
def test_a_model_that_cannot_be_simulated_is_a_sentence(
    words: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    """And exit code 2: what was given is wrong."""
    job = {"training_id": "s-1", "model_name": "m", "num_rounds": 1}
    done = simulated(tmp_path, job, *words)
    assert sentence in " ".join(done.output.split())
    assert done.exit_code == 2
