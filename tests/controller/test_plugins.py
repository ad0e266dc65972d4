"""Plug-ins that a job asks the services for."""

import json

import pytest

from fedbus.errors import PluginError
from fedbus.jobs import JobFile, JobFileError, Plugins, StrategyConfig
from fedbus.runtime.settings import ServiceSettings, settings_from
from fedbus.strategies.resolution import resolve
from fedbus_collector.collector_parts import PartsFactory
from fedbus_controller.app import check_plugins, selector
from fedbus_controller.requests.job_files import read_job
from tests.plugin_package import Install


def faults(
    chosen: Plugins, allowed: tuple[str, ...] = (), *, strategy: str = "fedavg"
) -> list[str]:
    """Return the faults of a job's plug-ins."""
    job = JobFile.model_validate(
        {"model_name": "m", "num_rounds": 1, "plugins": chosen, "strategy": strategy}
    )
    return [str(fault) for fault in check_plugins(job, allowed)]


def test_shipped_plug_ins_need_no_permission() -> None:
    """A service with default settings runs every job without third-party plug-ins."""
    assert faults(Plugins()) == []
    assert callable(selector("uniform", ()))
    assert PartsFactory(()).make(resolve(StrategyConfig())).aggregator.streams


def test_a_third_party_plug_in_needs_permission(install: Install) -> None:
    """The fault names the setting that gives it."""
    entries = "[fedbus.selectors]\nfirst = acme_first:f\n[fedbus.aggregators]\nmid = acme_first:m"
    install("acme_first", entries, "f = lambda *_: ['agent.1']")
    (said,) = faults(Plugins(selector="first"))
    assert said.startswith(
        "plugins.selector: selectors plug-in 'first' of acme_first is not allowed"
    )
    assert "FEDBUS_PLUGINS=first" in said
    assert faults(Plugins(selector="first"), ("acme-first",)) == []
    with pytest.raises(PluginError, match=r"not allowed here; allowed: .*mean"):
        resolve(StrategyConfig(id="mid"), ())


def test_a_plug_in_that_exits_is_a_fault_of_the_job(install: Install) -> None:
    """The controller does not end."""
    entries = "[fedbus.selectors]\nleave = acme_leave:f\n[fedbus.aggregators]\nleave = acme_leave:m"
    install("acme_leave", entries, "import sys\nsys.exit(3)")
    both = faults(Plugins(selector="leave"), ("all",), strategy="leave")
    assert [said.partition(":")[0] for said in both] == ["strategy", "plugins.selector"]
    assert all(said.endswith("does not load: it called sys.exit: 3") for said in both)


def test_a_shipped_transform_is_checked_before_the_job_begins() -> None:
    """Third-party ones, and loaders, are installed on agents only."""
    steps = [
        {"id": "resize", "parameters": {"size": [0, 4]}},
        {"id": "cast", "parameters": {"dtype": "float32"}},
        {"id": "normalize", "parameters": {"hihg": 16}},
        {"id": "acme", "parameters": {"what": "ever"}},
    ]
    size, argument = faults(Plugins.model_validate({"loader": "acme", "transforms": steps}))
    assert size.startswith("plugins.transforms[0]: resize: size is [0, 4]: expected 2 whole")
    assert argument.startswith("plugins.transforms[2]: normalize: ")
    assert argument.endswith("it takes low, high")


def test_faults_of_plug_ins_and_of_all_else_are_found_in_one_go() -> None:
    """A step whose parameters cannot be read is not checked without them as well."""
    steps = [{"id": "resize", "parameters": 4}, {"id": "cast"}]
    file = {
        "training_id": "a",
        "model_name": "b",
        "num_rounds": 0,
        "strategy": "nix",
        "plugins": {"transforms": steps},
    }
    with pytest.raises(JobFileError) as refused:
        read_job(json.dumps(file).encode(), check_plugins)
    assert [fault.key for fault in refused.value.faults] == [
        "num_rounds",
        "strategy",
        "plugins.transforms[0].parameters",
        "plugins.transforms[1]",
    ]


@pytest.mark.parametrize(
    ("value", "words"), [("", ()), ("own", ("own",)), (" own, acme-fl ,", ("own", "acme-fl"))]
)
def test_allowed_plug_ins_are_written_with_commas_between(
    value: str, words: tuple[str, ...]
) -> None:
    """As all lists in the environment."""
    assert settings_from({"FEDBUS_PLUGINS": value}, ServiceSettings).plugins == words


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ({"round": {"weighted": "False"}}, {"strategy": {"parameters": {"weighted": "False"}}}),
        ({"plugins": {"aggregator": "mean"}}, {"strategy": "mean"}),
        ({"plugins": {"aggregator": "median"}}, {"strategy": "median"}),
    ],
)
def test_the_value_of_an_earlier_key_is_that_of_the_present_one(
    earlier: dict[str, object], now: dict[str, object]
) -> None:
    """A user moves the value to the key that the fault names, and changes nothing else."""
    file = {"training_id": "a", "model_name": "b", "num_rounds": 1}
    with pytest.raises(JobFileError, match="it is now 'strategy"):
        read_job(json.dumps(file | earlier).encode(), check_plugins)
    assert read_job(json.dumps(file | now).encode(), check_plugins).strategy
