"""Strategies by name: the parts that each one is made of."""

from typing import Final

from fedbus.plugins import Preset
from fedbus.training.params import PluginChoice

FEDAVG: Final = Preset(
    aggregator=PluginChoice(id="mean"),
    source="McMahan et al. 2017, arXiv 1602.05629, algorithm 1",
)
