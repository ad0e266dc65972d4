"""Plug-ins that a job asks the services for."""

import pytest

from fedbus.errors import PluginError
from fedbus.settings import ServiceSettings, settings_from
from fedbus_collector.app import aggregator
from fedbus_controller.app import check_plugin, selector
from tests.packages import Install


def test_what_we_ship_needs_no_permission() -> None:
    """A service whose settings say nothing runs every job that names nothing of others."""
    check_plugin("aggregators", "fedavg", ())
    check_plugin("selectors", "uniform", ())
    assert callable(selector("uniform", ()))
    assert aggregator("fedavg", ()) is not None


def test_a_plug_in_of_others_needs_the_operators_word(install: Install) -> None:
    """The sentence names the setting that gives it."""
    entries = "[fedbus.selectors]\nfirst = acme_first:f\n[fedbus.aggregators]\nmid = acme_first:m"
    install("acme_first", entries, "f = lambda *_: ['agent.1']")
    with pytest.raises(PluginError, match=r"'first' of acme_first is not allowed .*FEDBUS_PLUGINS"):
        check_plugin("selectors", "first", ())
    check_plugin("selectors", "first", ("acme-first",))
    with pytest.raises(PluginError, match="not allowed here; allowed: fedavg"):
        aggregator("mid", ())


def test_an_aggregator_that_cannot_fold_is_refused_before_the_job_begins(install: Install) -> None:
    """The collector folds one update at a time and could do nothing with it."""
    install("acme_mid", "[fedbus.aggregators]\nmid = acme_mid:m", "m = lambda blocks, weights: 0")
    with pytest.raises(PluginError, match="aggregator 'mid' has no fold"):
        check_plugin("aggregators", "mid", ("all",))


@pytest.mark.parametrize(
    ("value", "words"), [("", ()), ("own", ("own",)), (" own, acme-fl ,", ("own", "acme-fl"))]
)
def test_allowed_plug_ins_are_written_with_commas_between(
    value: str, words: tuple[str, ...]
) -> None:
    """As everything that is a list in the environment."""
    assert settings_from({"FEDBUS_PLUGINS": value}, ServiceSettings).plugins == words
