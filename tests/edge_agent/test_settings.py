"""An agent's own data: settings, transforms, changes, and the models that take them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedbus.core.actions import Action, AnnounceEncryptionKey, Introduce, Note, Run, WakeAt
from fedbus.core.events import Connected, Ran, Woke
from fedbus.data import from_arrays
from fedbus.datasource.source import InMemorySource
from fedbus.errors import SettingsError, TrainingError
from fedbus.runtime.identity import Identity
from fedbus.runtime.settings import settings_from
from fedbus.secure_aggregation.accepted_terms import AcceptedTerms
from fedbus_edge_agent import keys
from fedbus_edge_agent.app import build
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.host.data_watch import DATA_CHECK_SECONDS
from fedbus_edge_agent.settings import AgentSettings
from tests.plugin_package import Install
from tests.sample_encryption import sample_key, save_key

IDENTITY = Identity(name="agent.a", incarnation=1)
Environ = Callable[..., dict[str, str]]


@pytest.fixture
def environ(tmp_path: Path) -> Environ:
    """Return the settings of an agent with pictures of 2 by 2, and further settings."""
    np.savez(tmp_path / "a.npz", x=np.full((6, 2, 2, 1), 255.0), y=np.arange(6) % 2)

    def make(**files: object) -> dict[str, str]:
        made = {
            "FEDBUS_BROKER": "mqtt://nowhere",
            "FEDBUS_DATA": str(tmp_path / "a.npz"),
            "FEDBUS_HOME": str(tmp_path / "home"),
        }
        for name, plain in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(plain))
            made[f"FEDBUS_{name.upper()}"] = str(tmp_path / f"{name}.json")
        return made

    return make


def agent(environ: dict[str, str]) -> AgentCore:
    """Build an agent as its process does."""
    core = build(settings_from(environ, AgentSettings), IDENTITY).core
    assert isinstance(core, AgentCore)
    return core


def refused(environ: dict[str, str]) -> str:
    """Return why an agent does not start."""
    with pytest.raises(SettingsError) as error:
        build(settings_from(environ, AgentSettings), IDENTITY)
    return str(error.value)


def wakes(actions: list[Action]) -> bool:
    """Return whether the data will be checked again."""
    return any(isinstance(one, WakeAt) and one.key == keys.DataCheck() for one in actions)


def test_an_agent_publishes_the_format_that_its_pipeline_makes(environ: Environ) -> None:
    """Not that of the file; without a setting, the kind of file decides on the loader."""
    steps = [
        {"id": "normalize", "parameters": {"high": 255}},
        {"id": "reshape", "parameters": {"size": [4]}},
    ]
    reason = agent(environ(pipeline=steps)).current_facts()
    assert reason.examples == 6
    assert reason.format["x"]["data_types"] == {
        "numerical": {"size": [4], "normalized": True, "dtype": "float32"}
    }
    assert agent(environ()).current_facts().format["x"]["data_types"]["image"]["size"] == [2, 2, 1]


def test_what_an_agent_demands_of_jobs_is_read(environ: Environ) -> None:
    """No setting allows a sum of two updates."""
    demands = {"FEDBUS_MASKING_LEAST_AGENTS": "5", "FEDBUS_MASKING_LEAST_COLLUDERS": "2"}
    read = settings_from({**environ(), **demands}, AgentSettings)
    assert read.accepted_terms == AcceptedTerms(agents=5, colluders=2)
    assert read.require_protection == "none"
    for name, value in {"MASKING_LEAST_AGENTS": "2", "REQUIRE_PROTECTION": "some"}.items():
        reason = refused_at_once({**environ(), f"FEDBUS_{name}": value})
        assert reason.startswith(f"FEDBUS_{name}='{value}'")


def test_a_setting_that_is_wrong_is_named(environ: Environ) -> None:
    """With what is wrong in its file."""
    assert "FEDBUS_PIPELINE: " in refused(environ(pipeline=[{"id": "nope"}]))
    assert "FEDBUS_PIPELINE_TEST: " in refused(environ(pipeline_test={}))
    missing = {**environ(), "FEDBUS_FORMAT": "nowhere.json"}
    assert refused(missing) == (
        "FEDBUS_FORMAT: nowhere.json: No such file or directory (JSON begins with [ or {)"
    )
    assert 'an object with "x" and "y"' in refused(environ(format=[]))
    flat = {"data_types": {"numerical": {"size": [4]}}}
    label = {"data_types": {"categorical": {"size": [1]}}}
    reason = refused(environ(format={"x": flat, "y": label}))
    assert reason.startswith("FEDBUS_DATA: x is not as declared: it is image, not numerical")
    nowhere = {**environ(), "FEDBUS_DATA": "/nope"}
    assert refused(nowhere) == "FEDBUS_DATA: /nope: no such file or folder"
    assert (
        refused_at_once({}) == "FEDBUS_DATA is not set (the file or folder that the loader reads)"
    )
    reason = refused_at_once({**environ(), "FEDBUS_HTTP": ":x", "FEDBUS_NAME": "a/b"})
    assert reason.startswith("FEDBUS_NAME='a/b': not 1 to 64 letters, digits, '.', '_' or '-', ")
    assert reason.endswith(
        "FEDBUS_HTTP=':x': not host:port of /healthz and /metrics; none by default"
    )
    assert "FEDBUS_LOADER_OPTIONS=" in refused_at_once({**environ(), "FEDBUS_LOADER_OPTIONS": "{"})
    odd = {**environ(), "FEDBUS_LOADER_OPTIONS": '{"rows": 3}'}
    assert refused(odd).startswith("FEDBUS_LOADER_OPTIONS: loader npz: no option 'rows'; it takes ")


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"LOADER": "nzp"}, "FEDBUS_LOADER: no loaders plug-in named 'nzp'; did you mean 'npz'? "),
        (
            {"LOADER_OPTIONS": '{"bacth": 2}'},
            "FEDBUS_LOADER_OPTIONS: loader npz: no option 'bacth'; did you mean 'batch'? it takes ",
        ),
        ({"LOADER_OPTIONS": '{"batch": 0}'}, "a.npz: batch is 0: expected a whole number"),
        (
            {"ROLES": "evalute"},
            (
                "FEDBUS_ROLES='evalute': not 'train' or 'evaluate'; did you mean 'evaluate'? "
                "(train, evaluate, or both with a comma between)"
            ),
        ),
        (
            {"ROLES": "x"},
            (
                "FEDBUS_ROLES='x': not 'train' or 'evaluate' "
                "(train, evaluate, or both with a comma between)"
            ),
        ),
    ],
)
def test_the_setting_at_fault_is_named_with_the_valid_values(
    environ: Environ, variables: dict[str, str], sentence: str
) -> None:
    """A fault of an option is not blamed on the path of the data."""
    reason = refused(
        {**environ(), **{f"FEDBUS_{name}": value for name, value in variables.items()}}
    )
    assert reason.startswith(tuple(f"FEDBUS_{name}" for name in variables))
    assert sentence in reason
    assert reason.count("FEDBUS_") == 1


def test_settings_take_json_or_a_json_file(environ: Environ, tmp_path: Path) -> None:
    """One rule for all four: a value that begins as a list or an object is no path."""
    steps, options = '[{"id": "normalize"}]', '{"batch": 2}'
    form = json.dumps({
        "x": {"data_types": {"image": {"size": [2, 2, 1]}}},
        "y": {"data_types": {"categorical": {"size": [1]}}},
    })  # fmt: skip
    stated = {
        "FEDBUS_PIPELINE": steps,
        "FEDBUS_PIPELINE_TEST": steps,
        "FEDBUS_FORMAT": form,
        "FEDBUS_LOADER_OPTIONS": options,
    }
    for name, text in stated.items():
        file = tmp_path / f"{name}.json"
        file.write_text(text)
    in_files = {name: str(tmp_path / f"{name}.json") for name in stated}
    for settings in (stated, in_files):
        known = agent({**environ(), **settings}).current_facts().format["x"]["data_types"]["image"]
        assert (known["normalized"], known["axes"]) == (True, "channels-last")
    for wrong, reason in (
        ({"FEDBUS_PIPELINE": '[{"id": "nope"}]'}, "FEDBUS_PIPELINE: transform 1 (nope): no "),
        ({"FEDBUS_PIPELINE": "[{"}, "FEDBUS_PIPELINE: [{: not JSON at "),
        ({"FEDBUS_FORMAT": "{}"}, 'FEDBUS_FORMAT: expected an object with "x" and "y"'),
        (
            {"FEDBUS_PIPELINE": " "},
            "FEDBUS_PIPELINE: '' is neither JSON, [ … ] or { … }, nor a file",
        ),
        ({"FEDBUS_PIPELINE": "steps"}, "FEDBUS_PIPELINE: steps: No such file or directory (JSON"),
    ):
        assert refused({**environ(), **wrong}).startswith(reason)
    reason = refused_at_once({**environ(), "FEDBUS_LOADER_OPTIONS": "nowhere.json"})
    assert "nowhere.json: No such file or directory (JSON begins with" in reason


def test_the_secret_key_of_the_settings_is_announced(environ: Environ, tmp_path: Path) -> None:
    """Its id, so that the controller asks this agent; others must not be able to read the file."""
    secret, public = save_key(tmp_path)
    wanted = environ() | {"FEDBUS_ENCRYPTION_KEY": str(secret)}
    actions = list(agent(wanted).handle(Connected(), 0.0))
    assert AnnounceEncryptionKey(sample_key().id) in actions
    assert not any(
        isinstance(action, AnnounceEncryptionKey)
        for action in agent(environ()).handle(Connected(), 0.0)
    )
    with pytest.raises(SettingsError, match=r"FEDBUS_ENCRYPTION_KEY: .*this is a public key"):
        agent(environ() | {"FEDBUS_ENCRYPTION_KEY": str(public)})
    secret.chmod(0o640)
    with pytest.raises(SettingsError, match=r"FEDBUS_ENCRYPTION_KEY: .*chmod 600"):
        agent(wanted)


def test_an_agent_with_a_key_and_without_tenseal_does_not_start(
    environ: Environ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to install: the controller would count on it, and its tasks would fail."""
    secret, _ = save_key(tmp_path)
    monkeypatch.setitem(sys.modules, "tenseal", None)
    with pytest.raises(SettingsError, match=r"FEDBUS_ENCRYPTION_KEY: .*fedbus\[encryption\]"):
        agent(environ() | {"FEDBUS_ENCRYPTION_KEY": str(secret)})


def test_what_a_loader_left_out_is_logged_once(environ: Environ, tmp_path: Path) -> None:
    """At the start and when it changes: users do not run `fedbus data describe` on a device."""
    table = tmp_path / "t.csv"
    table.write_text(",a,kind\n0,1,oak\n1,2,elm\n")
    core = agent({**environ(), "FEDBUS_DATA": str(table)})
    notes = [one for one in core.handle(Connected(), 0.0) if isinstance(one, Note)]
    reason = 'column number 0 is left out: a row index, or without a name ("features" can name it)'
    assert [note.facts for note in notes if note.event == "data_notes"] == [{"notes": reason}]
    again = core.handle(Connected(), 1.0)
    assert not [one for one in again if isinstance(one, Note) and one.event == "data_notes"]
    names = core.current_facts().format["y"]["data_types"]["categorical"]["classes"]
    assert names == ["elm", "oak"]


def test_a_trainer_that_is_not_here_or_does_not_load_is_refused_at_the_start(
    environ: Environ, install: Install
) -> None:
    """Else the agent would decline task after task."""
    reason = refused({**environ(), "FEDBUS_TRAINER": "nix"})
    assert reason.startswith("FEDBUS_TRAINER: no trainers plug-in named 'nix'; ")
    assert "tflite" in reason
    install("acme_broken", "[fedbus.trainers]\nbroken = acme_broken:Trainer", "1 / 0")
    reason = refused({**environ(), "FEDBUS_TRAINER": "broken"})
    assert "(acme_broken:Trainer) does not load: division by zero; other trainers here: " in reason
    install(
        "acme_good", "[fedbus.trainers]\ngood = acme_good:made", "made = lambda architecture: None"
    )
    assert agent({**environ(), "FEDBUS_TRAINER": "good"}).current_facts().examples == 6
    assert agent({**environ(), "FEDBUS_TRAINER": "base"}).current_facts().examples == 6


def refused_at_once(environ: dict[str, str]) -> str:
    """Return which settings cannot be read."""
    with pytest.raises(SettingsError) as error:
        settings_from(environ, AgentSettings)
    return str(error.value)


def test_data_that_change_are_loaded_between_tasks_and_announced(
    environ: Environ, tmp_path: Path
) -> None:
    """Once they are written; data that cannot be loaded are reported until they are corrected."""
    core, path, now = agent(environ()), tmp_path / "a.npz", 0.0
    assert wakes([*core.handle(Connected(), now)])

    def look() -> list[Action]:
        return [*core.handle(Woke(keys.DataCheck()), now)]

    def load(actions: list[Action]) -> list[Action]:
        (run,) = [one for one in actions if isinstance(one, Run)]
        assert Note("data_changed", {}) in actions
        return [*core.handle(Ran(run.key, run.call()), now)]

    assert look() == [WakeAt(keys.DataCheck(), DATA_CHECK_SECONDS)]
    np.savez(path, x=np.ones((9, 3)), y=np.arange(9) % 3)
    assert wakes(look())  # it may still be written
    told = load(look())
    assert Introduce() in told
    assert wakes(told)
    assert core.current_facts().examples == 9
    assert core.current_facts().format["x"]["data_types"]["numerical"]["size"] == [3]
    path.write_bytes(b"no arrays")
    look()
    load(look())
    assert core.current_facts().trouble.startswith("the data changed and cannot be loaded: ")
    np.savez(path, x=np.ones((4, 3)), y=np.arange(4) % 3)
    look()
    load(look())
    assert (core.current_facts().trouble, core.current_facts().examples) == ("", 4)


def test_a_simulation_too_refuses_a_model_that_takes_other_data() -> None:
    """Before it trains, with both formats."""
    data = InMemorySource(from_arrays(np.ones((4, 3), np.float32), np.zeros(4, np.int64)))
    assert data.for_task({}).train.examples == 4
    assert data.for_task({"shape": [3], "dtype": "float32"}).test.examples == 4
    with pytest.raises(TrainingError, match=r"takes numerical 5: .*the data are numerical 3"):
        data.for_task({"shape": [5]})
