"""`fedbus plugins`, as a person and as a program use it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedbus.cli.main import app
from tests.plugin_package import Install

RUNNER = CliRunner()
DEMO = Path(__file__).parents[4] / "libs/fedbus/src/fedbus/demo_data/model.json"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDBUS_PLUGINS", raising=False)


def test_what_is_installed_is_listed_by_kind(install: Install) -> None:
    """With where it comes from, and whether a job may choose it."""
    install("acme_best", "[fedbus.selectors]\nbest = acme_best:pick", "pick = lambda a, w, r: []")
    shown = RUNNER.invoke(app, ["plugins"])
    assert shown.exit_code == 0, shown.output
    rows = {tuple(line.split()[:2]): line for line in shown.stdout.splitlines()}
    assert "acme_best 1.0" in rows["selectors", "best"]
    assert rows["selectors", "best"].rstrip().endswith("ok where FEDBUS_PLUGINS allows it")
    assert rows["selectors", "uniform"].endswith("\tok")


def test_what_is_wrong_ends_with_exit_code_1(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for programs; what the settings do not allow is wrong once they say something."""
    install("acme_fine", "[fedbus.selectors]\nfine = acme_fine:pick", "pick = lambda a, w, r: []")
    install("acme_torn", "[fedbus.trainers]\ntorn = acme_torn:T", "class T: pass")
    monkeypatch.setenv("FEDBUS_PLUGINS", "acme-torn")
    listed = RUNNER.invoke(app, ["plugins", "--json"])
    assert listed.exit_code == 1
    assert "faulty plug-ins: trainers torn, selectors fine" in listed.stderr
    found = {entry["name"]: entry for entry in json.loads(listed.stdout)}
    assert found["fine"]["faults"] == ["not allowed here; FEDBUS_PLUGINS=fine allows it"]
    assert "no method train(weights, data, params)" in found["torn"]["faults"]
    assert found["torn"]["where"] == "acme_torn:T"
    assert (found["fedavg"]["package"], found["fedavg"]["faults"]) == ("fedbus", [])


def test_one_is_tried(install: Install) -> None:
    """Each of its name, one kind after the other."""
    entries = "[fedbus.selectors]\nbest = acme_two:pick\n[fedbus.models]\nbest = acme_two:build"
    install("acme_two", entries, "pick = lambda a, w, r: ['agent.1']\nbuild = dict")
    both = RUNNER.invoke(app, ["plugins", "check", "best"])
    assert both.exit_code == 0, both.output
    assert "selected 1 of 10 agents: agent.1" in both.stdout
    assert "made a dict of {}" in both.stdout
    one = RUNNER.invoke(app, ["plugins", "check", "models:best", "--config", '{"a": 1}'])
    assert "made a dict of {'a': 1}" in one.stdout
    assert "agent.1" not in one.stdout


def test_a_trainer_of_ours_is_tried_with_a_spec() -> None:
    """Its architecture and weights are those of the model."""
    pytest.importorskip("torch")
    tried = RUNNER.invoke(app, ["plugins", "check", "torch", "--model", str(DEMO)])
    assert tried.exit_code == 0, tried.output
    assert "initial: 4 arrays, 2410 numbers" in tried.stdout
    assert "predict: float32 (8, 10) for (8, 64)" in tried.stdout


def test_what_was_tried_is_json_for_programs(install: Install) -> None:
    """What each did, and why it failed; the sentence stays on the other stream."""
    worked = RUNNER.invoke(app, ["plugins", "check", "fedavg", "--json"])
    (tried,) = json.loads(worked.stdout)
    assert (worked.exit_code, tried["kind"], tried["failed"]) == (0, "strategies", None)
    assert tried["did"]
    source = "def raises(agents, want, rng):\n    return {}['x']\n"
    install("acme_bad", "[fedbus.selectors]\nraises = acme_bad:raises", source)
    failed = RUNNER.invoke(app, ["plugins", "check", "raises", "--json"])
    (tried,) = json.loads(failed.stdout)
    assert (failed.exit_code, tried["name"]) == (1, "raises")
    assert failed.stderr == f"fedbus: {tried['failed']}\n"


def test_a_part_is_shown_with_its_parameters(install: Install) -> None:
    """Name, values, default and meaning, as its signature and docstring say."""
    source = '''
from typing import Literal

class Base:
    """A base.

    Args:
        share: How much
            is kept.
    """

class Kept(Base):
    """Keeps a share.

    More about it.
    """
    def __init__(
        self, share: float, kind: Literal["a", "b"] = "a", odd=b"x", *, n: int | None = None
    ): ...

def any_name(**names): ...
'''
    entries = "[fedbus.aggregators]\nkept = acme_kept:Kept\nany-name = acme_kept:any_name"
    install("acme_kept", entries, source)
    shown = RUNNER.invoke(app, ["plugins", "show", "kept"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines() == [
        "aggregators kept (acme_kept:Kept, acme_kept 1.0)",
        "  Keeps a share.",
        "PARAMETER\tVALUE\tDEFAULT\tMEANING",
        "share\tnumber\trequired\tHow much is kept.",
        'kind\t"a" or "b"\t"a"\t',
        "odd\tany value\t\"b'x'\"\t",
        "n\twhole number\t\t",
    ]
    other = RUNNER.invoke(app, ["plugins", "show", "any-name"])
    assert "  parameters of any other name, too" in other.stdout


def test_a_strategy_is_shown_with_the_parameters_of_its_parts(install: Install) -> None:
    """With the preset's values, and the other names by which a job may give them."""
    source = """
from fedbus import PluginChoice, Preset
OWN = Preset(
    aggregator=PluginChoice(id="krum", parameters={"num_clients_to_keep": 3}),
    server_optimizer=PluginChoice(id="adam"),
    renamed={"keep": "num_clients_to_keep"},
    source="A paper",
)
"""
    install("acme_own", "[fedbus.strategies]\nown = acme_own:OWN", source)
    (own,) = json.loads(RUNNER.invoke(app, ["plugins", "show", "own", "--json"]).stdout)
    assert own["summary"] == "aggregators krum, server_optimizers adam (A paper)"
    found = {each["name"]: each for each in own["parameters"]}
    assert (found["num_clients_to_keep"]["default"], found["num_clients_to_keep"]["also"]) == (
        3,
        ["keep"],
    )
    assert found["num_malicious_clients"]["part"] == "aggregators krum"
    assert "eta" in found["server_learning_rate"]["also"]
    assert found["server_learning_rate"]["part"] == "server_optimizers adam"
    (nova,) = json.loads(
        RUNNER.invoke(app, ["plugins", "show", "fednova", "--kind", "strategies", "--json"]).stdout
    )
    assert all(each["of_training"] for each in nova["parameters"])


def test_arguments_that_fedbus_gives_are_not_shown() -> None:
    """A loader's path, and what a selector is called with, are no parameters."""
    npz = json.loads(RUNNER.invoke(app, ["plugins", "show", "npz", "--json"]).stdout)
    assert "path" not in {each["name"] for found in npz for each in found["parameters"]}
    assert "no parameters" in RUNNER.invoke(app, ["plugins", "show", "selectors:uniform"]).stdout
    wrong = RUNNER.invoke(app, ["plugins", "show", "uniform", "--kind", "loaders"])
    assert (wrong.exit_code, "no plug-in named 'loaders:uniform'" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        (
            "check zzzzzz",
            2,
            "no plug-in named 'zzzzzz'; installed: trainers:keras, trainers:n",
        ),
        (
            "check aggregators:medain",
            2,
            "no plug-in named 'aggregators:medain'; did you mean 'median'? installed: trainers:",
        ),
        ("check fedavg --config {", 2, "--config: not JSON"),
        ("check fedavg --config 3", 2, "--config: expected a JSON object, got int"),
        ("check raises", 1, "selectors raises: KeyError: 'x'"),
        ("check crooked", 1, "selectors crooked: it takes (a)"),
        ("check none_yet", 1, "needs an architecture, add --model SPEC.json or --config"),
        (f"check npz --model {DEMO}", 2, "has no architecture for npz"),
        ("check spread", 1, "fedbus: aggregators spread: the result of combine has shape (2,)"),
        ('check spread --config {"cut":0.5}', 1, "spread: cut: expected a whole number, got 0.5"),
        ("check old", 1, "aggregators old: no method weight(facts) or weigh(facts, gram) or comb"),
        ("check own", 1, "strategies own: strategy: no aggregators plug-in named 'lost'"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    install: Install, line: str, code: int, sentence: str
) -> None:
    """Never a traceback."""
    entries = "[fedbus.selectors]\nraises = acme_bad:raises\ncrooked = acme_bad:crooked\n"
    source = """
def raises(agents, want, rng):
    return {}["x"]
def crooked(a): ...
class NoneYet:
    def __init__(self, architecture): architecture["x"]
    def initial(self): ...
    def train(self, weights, data, params): ...
class Spread:
    def __init__(self, cut: int = 1): ...
    def combine(self, blocks, weights): return blocks[0, :2]
class Old:
    def fold(self, total, block, weight): ...
from fedbus import PluginChoice, Preset
OWN = Preset(aggregator=PluginChoice(id="lost"))
"""
    entries += "[fedbus.trainers]\nnone_yet = acme_bad:NoneYet\n"
    entries += "[fedbus.aggregators]\nspread = acme_bad:Spread\nold = acme_bad:Old\n"
    install("acme_bad", entries + "[fedbus.strategies]\nown = acme_bad:OWN", source)
    tried = RUNNER.invoke(app, ["plugins", *line.split(" ")])
    assert tried.exit_code == code, tried.output
    assert sentence in tried.stderr
