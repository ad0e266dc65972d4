"""Inspection of plug-ins without calling them."""

import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from fedbus.errors import PluginError
from fedbus.plugins import Group, Plugin, find_all
from fedbus.plugins.inspection import inspect_all, inspect_one, signature_faults
from tests.plugin_package import Install


class Short:
    def __init__(self) -> None:
        self.made = True

    def train(self, weights: object, data: object) -> None: ...

    def evaluate(self, weights: object) -> None: ...

    @staticmethod
    def load(weights: object) -> None: ...

    @classmethod
    def predict(cls) -> None: ...


def test_a_trainer_is_told_each_method_that_does_not_fit() -> None:
    """With the arguments it will be called with."""
    said = list(signature_faults("trainers", Short))
    assert [sentence.partition(" takes")[0] for sentence in said] == [
        "it",
        "evaluate",
        "predict",
        "no method initial()",
        "train",
    ]
    assert "train takes (weights: object, data: object) and is called with" in said[-1]
    assert "(weights, data, params): too many positional arguments" in said[-1]


@pytest.mark.parametrize(
    ("group", "made", "said"),
    [
        ("selectors", 3, "expected a function or class, got a int"),
        ("selectors", lambda _agents, _want: (), "called with (agents, want, rng)"),
        ("loaders", lambda: 0, "called with (path)"),
        ("models", lambda: 0, "called with (config)"),
        ("trainers", lambda: 0, "called with (architecture)"),
        ("runtimes", Short, "predict takes ()"),
        ("loaders", lambda _path, *, _needed: 0, "argument: '_needed'"),
    ],
)
def test_the_sentence_says_what_it_takes_and_gets(group: Group, made: object, said: str) -> None:
    """So that its author need not read our code."""
    assert said in " | ".join(signature_faults(group, made))


@pytest.mark.parametrize(
    ("group", "made"),
    [
        ("trainers", lambda _architecture: Short()),
        ("transforms", lambda: 0),
        ("loaders", max),
        ("models", lambda *_all: 0),
    ],
)
def test_what_cannot_be_seen_is_not_complained_of(group: Group, made: object) -> None:
    """What a function makes is seen when it is tried; code in C shows nothing."""
    assert list(signature_faults(group, made)) == []


def test_all_that_we_ship_is_well() -> None:
    """Or its framework is not installed, which is no fault."""
    assert {f.plugin.name: f.faults for f in inspect_all() if f.faults} == {}


def test_a_plug_in_is_told_all_its_faults(install: Install) -> None:
    """It does not import, another has its name, no setting allows it."""
    install("acme_wrong", "[fedbus.loaders]\nnpz = acme_wrong:load", "1 / 0")
    (mine,) = (p for p in find_all("loaders") if p.package == "acme_wrong")
    finding = inspect_one(mine, ())
    assert finding.faults == (
        "fedbus.data:npz has the same name; uninstall one of them",
        "not allowed here; FEDBUS_PLUGINS=npz allows it",
        "does not load: division by zero",
    )


def test_a_plug_in_that_wants_to_exit_is_told_so_and_the_others_are_looked_at(
    install: Install,
) -> None:
    """A script that parses its arguments when imported, say: the list must not end there."""
    entries = "[fedbus.loaders]\na = acme_exit:load\n[fedbus.selectors]\nz = acme_exit:pick"
    install("acme_exit", entries, "import sys\nsys.exit(2)")
    mine = {f.plugin.name: f.faults for f in inspect_all() if f.plugin.package == "acme_exit"}
    said = ("does not load: it called sys.exit: 2",)
    assert mine == {"a": said, "z": said}


@pytest.mark.parametrize(
    ("package", "faults", "missing"),
    [
        ("fedbus", (), "No module named 'n_a'"),
        ("acme-fl", ("does not load: No module named 'n_a'",), ""),
    ],
)
def test_a_framework_that_is_missing_is_no_fault_of_ours(
    tmp_path: Path, package: str, faults: tuple[str, ...], missing: str
) -> None:
    """A light agent has tflite and no torch; a package of others should name what it needs."""
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n"
    tmp_path.joinpath("METADATA").write_text(metadata)
    tmp_path.joinpath("entry_points.txt").write_text("[fedbus.models]\nn = n_a:build\n")
    (entry,) = PathDistribution(tmp_path).entry_points
    finding = inspect_one(Plugin("models", "n", entry, package))
    assert (finding.faults, finding.missing) == (faults, missing)


def test_a_framework_that_one_of_ours_needs_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few users know that Keras is installed by the extra tensorflow."""
    tmp_path.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: fedbus\nVersion: 1\n")
    tmp_path.joinpath("entry_points.txt").write_text("[fedbus.trainers]\nkeras = tensorflow:a\n")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    (entry,) = PathDistribution(tmp_path).entry_points
    with pytest.raises(PluginError, match=r"'keras' needs tensorflow: pip install 'fedbus\[tens"):
        Plugin("trainers", "keras", entry, "fedbus").import_object()
