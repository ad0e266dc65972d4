"""Trainers that an agent can use, known before a framework is loaded."""

import pytest

from fedbus.errors import PluginError
from fedbus.plugins import Trainer, TrainerFactory
from fedbus.training.params import Architecture
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus_edge_agent.training import trainers
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.trainers import TaskChecker, Trainers
from tests.plugin_package import Install

LAYOUT = (TensorSpec(name="w", shape=(1,), dtype="float32"),)


def unused_trainer(_architecture: Architecture) -> Trainer:
    """Fail: this trainer is never loaded."""
    raise NotImplementedError


OWN: dict[str, TrainerFactory] = {"own": unused_trainer}


def spec(*architectures: str) -> ModelSpec:
    """Return a spec of empty architectures."""
    return ModelSpec(model="m", layout=LAYOUT, architectures={name: {} for name in architectures})


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a device without any framework."""
    monkeypatch.setattr(trainers, "is_installed", lambda _package: False)


def test_a_trainer_of_fedbus_is_available_if_its_framework_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its entry point is installed everywhere, the framework is not."""
    monkeypatch.setattr(trainers, "is_installed", lambda package: package == "torch")
    assert Trainers(factories=OWN).available() == ("own", "torch")
    with pytest.raises(
        PluginError,
        match="trainer 'tflite' needs tflite_runtime or ai_edge_litert or tensorflow, "
        "not installed here; trainers here: torch",
    ):
        Trainers().check("tflite")
    assert Trainers().choose(spec("tflite", "torch"), None) == "torch"


def test_a_job_for_a_trainer_of_fedbus_ignores_the_preferred_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`client_type_id: base`, as aerOS has it."""
    monkeypatch.setattr(trainers, "is_installed", lambda package: package == "torch")
    theirs = Trainers("own", factories=OWN)
    theirs.check("base")
    assert theirs.choose(spec("own", "torch"), "base") == "torch"
    assert theirs.choose(spec("own", "torch"), None) == "own"
    with pytest.raises(PluginError, match="model m needs one of own, tflite"):
        theirs.choose(spec("own", "tflite"), "base")
    monkeypatch.setattr(trainers, "is_installed", lambda _: False)
    with pytest.raises(PluginError, match=r"no trainer of fedbus is available here; .* here: own"):
        theirs.check("base")


@pytest.mark.usefixtures("bare")
def test_a_device_without_any_framework_is_reported() -> None:
    """Before it fetches a model."""
    assert Trainers().available() == ()
    with pytest.raises(PluginError, match="trainers here: none"):
        Trainers().check("torch")
    with pytest.raises(PluginError, match="model m needs one of tflite, torch"):
        Trainers().choose(spec("tflite", "torch"), None)
    Trainers().check(None)
    Trainers(factories=OWN).check("own")


@pytest.mark.usefixtures("bare")
def test_a_third_party_trainer_need_not_name_its_packages(install: Install) -> None:
    """Whether it can be used is known when it is loaded."""
    source = "class Odd:\n    def __init__(self, architecture): pass"
    install("acme_odd", "[fedbus.trainers]\nodd = acme_odd:Odd", source)
    theirs = Trainers(allowed=["odd"])
    assert theirs.available() == ("odd",)
    theirs.check("odd")
    assert Trainers(allowed=[]).available() == ()
    with pytest.raises(PluginError, match="'odd' of acme_odd is not allowed here"):
        Trainers(allowed=[]).check("odd")
    Trainers("odd", allowed=[]).check("odd")


def test_a_spec_names_no_model_plug_in_that_is_not_allowed(install: Install) -> None:
    """A spec comes over the network; the agent's own settings decide what it may name."""
    install("acme_nets", "[fedbus.models]\nlenet = acme_nets:lenet\n", "def lenet(config): ...")
    wanted = ModelSpec(model="m", layout=LAYOUT, architectures={"own": {"name": "lenet"}})
    assert Trainers(factories=OWN, allowed=["acme-nets"]).choose(wanted, None) == "own"
    for chosen in (None, "own"):
        with pytest.raises(PluginError, match="FEDBUS_PLUGINS=lenet allows it"):
            Trainers(factories=OWN, allowed=[]).choose(wanted, chosen)
    plain = ModelSpec(model="m", layout=LAYOUT, architectures={"own": {"name": "mlp"}})
    assert Trainers(factories=OWN, allowed=[]).choose(plain, None) == "own"


def test_a_local_trainer_is_a_task_checker() -> None:
    """So that its agent can decline a task early."""
    assert issubclass(LocalTrainer, TaskChecker)
