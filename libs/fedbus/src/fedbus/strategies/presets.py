"""Strategies by name: the parts that each one is made of."""

from typing import Final

from fedbus.plugins import Preset
from fedbus.training.params import PluginChoice

FEDAVG: Final = Preset(
    aggregator=PluginChoice(id="mean"),
    source="McMahan et al. 2017, arXiv 1602.05629, algorithm 1",
)
FEDMEDIAN: Final = Preset(
    aggregator=PluginChoice(id="median"),
    source="Yin et al. 2018, arXiv 1803.01498, algorithm 1, option I",
)
KRUM: Final = Preset(
    aggregator=PluginChoice(id="krum"),
    source="Blanchard et al. 2017, arXiv 1703.02757, section 4",
)
MULTI_KRUM: Final = Preset(
    aggregator=PluginChoice(id="multi-krum"),
    source="Blanchard et al. 2017, arXiv 1703.02757, section 6",
)

FEDADAM: Final = Preset(
    aggregator=PluginChoice(id="mean"),
    server_optimizer=PluginChoice(id="adam"),
    renamed={"eta": "server_learning_rate"},
    source="Reddi et al. 2021, arXiv 2003.00295, algorithm 2",
)
SCAFFOLD: Final = Preset(
    aggregator=PluginChoice(id="mean", parameters={"weighted": False}),
    server_optimizer=PluginChoice(id="scaffold"),
    objective=PluginChoice(id="scaffold"),
    renamed={"eta_g": "server_learning_rate"},
    source="Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1",
)
