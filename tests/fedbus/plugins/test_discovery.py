"""Plug-ins are found by name, among those that are installed and allowed."""

import subprocess
import sys

import pytest

import fedbus
from fedbus import plugins
from fedbus.errors import PluginError
from fedbus.plugins.inspection import inspect_all
from fedbus.training.params import TrainingParams
from tests.plugin_package import Install


def test_a_plug_in_is_what_its_entry_point_names(install: Install) -> None:
    """None inherits from anything."""
    source = "class Tiny:\n    def __init__(self, architecture): self.architecture = architecture"
    install("acme_tiny", "[fedbus.trainers]\ntiny = acme_tiny:Tiny", source)
    assert "tiny" in plugins.installed_names("trainers")
    trainer = plugins.load("trainers", "tiny")({"name": "mlp"})
    assert type(trainer).__name__ == "Tiny"


def test_a_wrong_name_fails_with_the_choices(install: Install) -> None:
    """In a sentence that ends up in front of the job's author."""
    install("acme_two", "[fedbus.loaders]\ntwo_b = acme_two:b\ntwo_a = acme_two:a", "a = b = print")
    with pytest.raises(
        PluginError, match=r"no loaders plug-in named 'nope'; installed: .*two_a, two_b"
    ):
        plugins.load("loaders", "nope")
    with pytest.raises(PluginError, match=r"'twob'; did you mean 'two_b'\? installed: "):
        plugins.load("loaders", "twob")


def test_an_agent_loads_only_what_its_settings_allow(install: Install) -> None:
    """A job chooses; the device's owner decides what there is to choose from."""
    install("acme_odd", "[fedbus.loaders]\nodd = acme_odd:load", "load = print")
    assert callable(plugins.load("loaders", "odd", allowed={"odd"}))
    assert callable(plugins.load("loaders", "odd", allowed=["acme-odd"]))
    assert callable(plugins.load("loaders", "odd", allowed=["all"]))
    with pytest.raises(PluginError, match=r"'odd' of acme_odd is not allowed here; allowed: .*npz"):
        plugins.load("loaders", "odd", allowed=["csv"])
    with pytest.raises(PluginError, match="FEDBUS_PLUGINS=odd allows it"):
        plugins.load("loaders", "odd", allowed=[])
    assert callable(plugins.load("loaders", "npz", allowed=[]))
    assert "odd" not in plugins.allowed_names("loaders", [])


def test_a_package_that_is_not_allowed_takes_no_shipped_name(
    install: Install,
) -> None:
    """A package that came with another one cannot stop an agent by claiming `npz`."""
    install("acme_thief", "[fedbus.loaders]\nnpz = acme_thief:load", "load = print")
    assert plugins.load("loaders", "npz", allowed=[]).__module__.startswith("fedbus.data")
    with pytest.raises(PluginError, match="two loaders plug-ins are named"):
        plugins.load("loaders", "npz", allowed=["acme-thief"])


def test_a_package_on_two_places_of_the_path_is_one_plug_in(install: Install) -> None:
    """An editable install beside a copy is no quarrel."""
    install("acme_once", "[fedbus.loaders]\nonce = acme_once:load", "load = print")
    sys.path.append(next(path for path in sys.path if path.endswith("acme_once")))
    assert callable(plugins.load("loaders", "once"))
    sys.path.pop()


def test_what_authors_need_is_in_the_package_by_name() -> None:
    """`from fedbus import Dataset, TrainingParams, Update, Weights`, as the pages show it."""
    for name in fedbus.__all__:
        assert getattr(fedbus, name) is not None
    assert fedbus.TrainingParams is TrainingParams


def test_a_name_claimed_twice_is_refused(install: Install) -> None:
    """Chance must not decide whose code runs."""
    install("acme_one", "[fedbus.selectors]\nbest = acme_one:pick", "")
    install("acme_other", "[fedbus.selectors]\nbest = acme_other:pick", "")
    with pytest.raises(PluginError, match=": acme_one:pick, acme_other:pick"):
        plugins.load("selectors", "best")


@pytest.mark.parametrize(
    "source", ["import nothing_like_this", "1 / 0", "import sys; sys.exit(1)", ""]
)
def test_a_plug_in_that_does_not_import_is_named(install: Install, source: str) -> None:
    """Whatever its module raises: a missing framework, a bug, a missing name."""
    sys.modules.pop("acme_bad", None)
    install("acme_bad", "[fedbus.trainers]\nbad = acme_bad:Trainer", source)
    with pytest.raises(PluginError, match=r"'bad' \(acme_bad:Trainer\) does not load: .+"):
        plugins.load("trainers", "bad")


def test_the_library_imports_no_framework() -> None:
    """An agent starts in the memory of a small device, and imports what a job names."""
    data = "fedbus.data, fedbus.data.partition, fedbus.data.digits, fedbus.datasource.pipeline"
    modules = f"fedbus, {data}, fedbus.plugins, fedbus.model.blob, fedbus.demo_data"
    heavy = "{'torch', 'tflite_runtime', 'ai_edge_litert', 'tensorflow', 'sklearn', 'scipy'}"
    code = f"import sys, {modules}; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["my loader", "a/b", "größe", "x" * 65, "$x", "+"])
def test_a_plug_in_whose_name_can_stand_in_no_job_is_left_out_and_said(
    install: Install, name: str
) -> None:
    """An agent that announced it would say what no controller reads, and be left out itself."""
    install("acme_named", f"[fedbus.loaders]\n{name} = acme_named:load", "load = print")
    assert name in plugins.installed_names("loaders")
    assert name not in plugins.allowed_names("loaders", ["all"])
    with pytest.raises(PluginError, match=r"of acme_named: expected a name of 1 to 64 letters"):
        plugins.load("loaders", name)
    found = [one for one in inspect_all() if one.plugin.name == name]
    assert "expected a name of 1 to 64 letters" in found[0].faults[0]
