"""Strategies by name: the parts that each one is made of."""

from typing import Final

from fedbus.plugins import Preset
from fedbus.training.params import PluginChoice

_UNWEIGHTED: Final = PluginChoice(id="mean", parameters={"weighted": False})

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
    source="Blanchard et al. 2017, arXiv 1703.02757",
)
MULTI_KRUM: Final = Preset(
    aggregator=PluginChoice(id="multi-krum"),
    source="Blanchard et al. 2017, arXiv 1703.02757, multi-Krum",
)
FEDTRIMMEDAVG: Final = Preset(
    aggregator=PluginChoice(id="trimmed-mean"),
    source="Yin et al. 2018, arXiv 1803.01498, algorithm 1, option II",
)
BULYAN: Final = Preset(
    aggregator=PluginChoice(id="bulyan"),
    source="El Mhamdi et al. 2018, arXiv 1802.07927",
)
GEOMETRIC_MEDIAN: Final = Preset(
    aggregator=PluginChoice(id="geometric-median"),
    source="Pillutla et al. 2022, arXiv 1912.13445, algorithm 2",
)
NORM_CLIPPING: Final = Preset(
    aggregator=PluginChoice(id="norm-clipping"),
    source="Sun et al. 2019, arXiv 1911.07963",
)
FEDNOVA: Final = Preset(
    aggregator=PluginChoice(id="fednova"),
    source="Wang et al. 2020, arXiv 2007.07481",
)
QFEDAVG: Final = Preset(
    aggregator=PluginChoice(id="qfedavg"),
    source="Li et al. 2020, arXiv 1905.10497, algorithm 2",
)
FEDAVGOPT: Final = Preset(
    aggregator=PluginChoice(id="fedavgopt"),
    source="AI4OS federated server, FedAvgOpt",
)
FAULTTOLERANTFEDAVG: Final = Preset(
    aggregator=PluginChoice(id="mean"),
    source="McMahan et al. 2017, arXiv 1602.05629, algorithm 1, with Flower's FaultTolerantFedAvg",
)
FEDOPT: Final = Preset(
    aggregator=PluginChoice(id="mean"),
    server_optimizer=PluginChoice(id="sgd"),
    source="Reddi et al. 2021, arXiv 2003.00295, algorithm 1",
)
FEDAVGM: Final = Preset(
    aggregator=PluginChoice(id="mean"),
    server_optimizer=PluginChoice(id="momentum"),
    source="Hsu et al. 2019, arXiv 1909.06335",
)
FEDADAGRAD: Final = Preset(
    aggregator=PluginChoice(id="mean"),
    server_optimizer=PluginChoice(id="adagrad"),
    source="Reddi et al. 2021, arXiv 2003.00295, algorithm 2",
)
FEDADAM: Final = Preset(
    aggregator=PluginChoice(id="mean"),
    server_optimizer=PluginChoice(id="adam"),
    source="Reddi et al. 2021, arXiv 2003.00295, algorithm 2",
)
FEDYOGI: Final = Preset(
    aggregator=PluginChoice(id="mean"),
    server_optimizer=PluginChoice(id="yogi"),
    source="Reddi et al. 2021, arXiv 2003.00295, algorithm 2",
)
FEDPROX: Final = Preset(
    aggregator=PluginChoice(id="mean"),
    objective=PluginChoice(id="proximal"),
    source="Li et al. 2020, arXiv 1812.06127, algorithm 2",
)
FEDDYN: Final = Preset(
    aggregator=_UNWEIGHTED,
    server_optimizer=PluginChoice(id="feddyn"),
    objective=PluginChoice(id="feddyn"),
    source="Acar et al. 2021, arXiv 2111.04263, algorithm 1",
)
SCAFFOLD: Final = Preset(
    aggregator=_UNWEIGHTED,
    server_optimizer=PluginChoice(id="scaffold"),
    objective=PluginChoice(id="scaffold"),
    renamed={"eta_g": "server_learning_rate"},
    source="Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1",
)
