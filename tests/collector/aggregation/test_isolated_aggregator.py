"""Aggregators of others."""

import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

from fedbus.errors import PluginError
from fedbus.model.layout import Array
from fedbus_collector.aggregation.isolated_aggregator import IsolatedAggregator
from fedbus_collector.app import aggregator
from tests.plugin_package import Install


def _fails(*_: object) -> None:
    raise ValueError("my fold is wrong")


def _exits(*_: object) -> None:
    sys.exit(3)


def _interrupts(*_: object) -> None:
    raise KeyboardInterrupt


class Plugin:
    """Aggregator as a test wants."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def fold(self, total: Array, block: Array, weight: float, /) -> None:
        self._call(total, block, weight)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (_fails, "aggregator 'own': my fold is wrong"),
        (_exits, "aggregator 'own': it called sys.exit: 3"),
        (_interrupts, "aggregator 'own': KeyboardInterrupt"),
    ],
)
def test_an_aggregator_that_raises_is_named_in_the_error(
    call: Callable[..., None], said: str
) -> None:
    """The round fails, and the collector serves other jobs."""
    with pytest.raises(PluginError, match=said):
        IsolatedAggregator("own", Plugin(call)).fold(np.zeros(1), np.ones(1), 1.0)


def test_an_aggregator_that_hangs_cannot_write_after_its_time_limit() -> None:
    """Another round may use the memory of the total by then."""
    go, gone = threading.Event(), threading.Event()

    def hang(total: Array, block: Array, weight: float) -> None:
        assert go.wait(10.0)
        total += block * weight
        gone.set()

    total = np.zeros(3)
    with pytest.raises(PluginError, match=r"'own': it did not answer in 0\.05 s"):
        IsolatedAggregator("own", Plugin(hang), 0.05).fold(total, np.ones(3), 1.0)
    go.set()
    assert gone.wait(10.0)
    assert total.tolist() == [0.0, 0.0, 0.0]


def test_a_third_party_aggregator_is_isolated_and_a_shipped_one_is_not(install: Install) -> None:
    """A thread for each block would make the shipped one slow."""
    code = "class Sum:\n  def fold(self, total, block, weight): total += block"
    install("acme_sum", "[fedbus.aggregators]\nsum = acme_sum:Sum", code)
    summing = aggregator("sum", ("all",))
    assert isinstance(summing, IsolatedAggregator)
    total = np.zeros(2)
    summing.fold(total, np.ones(2), 1.0)
    assert total.tolist() == [1.0, 1.0]
    assert not isinstance(aggregator("fedavg", ("all",)), IsolatedAggregator)
