"""Names of strategies as several systems spell them."""

import pytest

from fedbus.errors import PluginError
from fedbus.jobs import StrategyConfig
from fedbus.strategies.resolution import resolve
from fedbus.strategies.strategy_names import find_preset, installed_name
from tests.plugin_package import Install


@pytest.mark.parametrize(
    ("written", "id_"),
    [
        ("fedavg", "fedavg"),
        ("FedAvg", "fedavg"),
        ("avg", "fedavg"),
        ("AVG", "fedavg"),
        ("FedAdam", "fedadam"),
        ("fed_adam", "fedadam"),
        ("fed-adam", "fedadam"),
        ("adam", "fedadam"),
        ("mean", "mean"),
        ("Mean", "mean"),
    ],
)
def test_a_strategy_is_found_by_its_spellings(written: str, id_: str) -> None:
    """`FedAdam` is Flower's, `avg` is aerOS's."""
    assert resolve(StrategyConfig(id=written)).id == id_


def test_an_unknown_name_gets_the_nearest_one_and_the_list() -> None:
    """So that the next attempt is right."""
    with pytest.raises(PluginError) as refused:
        find_preset("fedadm", ())
    said = str(refused.value)
    assert said.startswith("no strategy or aggregator named 'fedadm'; did you mean 'fedadam'? ")
    assert "installed: bulyan, " in said
    assert " median, " in said
    with pytest.raises(PluginError, match="named 'zzz'; installed: "):
        find_preset("zzz", ())


def test_a_part_that_is_no_strategy_is_named_with_its_key(install: Install) -> None:
    """An id alone is a strategy or an aggregator."""
    entries = "[fedbus.server_optimizers]\nslow-step = acme_slow:A\n"
    entries += "[fedbus.update_transforms]\nslow-noise = acme_slow:A"
    install("acme_slow", entries, "class A: pass")
    chosen = {
        "slow_step": """server optimizer: choose it with "strategy": \
{"server_optimizer": {"id": "slow-step"}}""",
        "slow-noise": """update transform: choose it with "strategy": \
{"update_transforms": [{"id": "slow-noise"}]}""",
    }
    for name, said in chosen.items():
        with pytest.raises(PluginError) as refused:
            find_preset(name, None)
        assert str(refused.value) == (
            f"no strategy or aggregator named {name!r}; it is the name of an installed {said}"
        )


def test_a_spelling_of_two_plug_ins_is_neither(install: Install) -> None:
    """The job must say which one it means."""
    entries = "[fedbus.aggregators]\nab-c = acme_two:A\na_bc = acme_two:A"
    install("acme_two", entries, "from fedbus.strategies.aggregation.mean import Mean as A")
    assert installed_name("aggregators", "a_bc") == "a_bc"
    assert installed_name("aggregators", "abc") == "abc"


def test_parts_are_found_by_their_spellings(install: Install) -> None:
    """As strategies are."""
    entries = "[fedbus.aggregators]\nslow-mean = acme_slow:A"
    install("acme_slow", entries, "from fedbus.strategies.aggregation.mean import Mean as A")
    config = StrategyConfig.model_validate({"aggregator": "Slow_Mean"})
    assert resolve(config).aggregator.id == "slow-mean"
