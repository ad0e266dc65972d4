"""Names of strategies and of their parts, as job files of several systems spell them.

Upper and lower case, and the characters `-`, `_` and `.`, make no difference: `FedAdam`, `fed_adam`
and `fedadam` are one strategy. `avg` is `fedavg`: an id without `fed` is a strategy with it, unless
it is a name of its own.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Final

from fedbus import plugins
from fedbus.errors import PluginError
from fedbus.plugins import Group, Preset
from fedbus.strategies.part_factories import load_plugin
from fedbus.text import nearest
from fedbus.training.params import PluginChoice

_PREFIX: Final = "fed"
_KINDS: Final[Mapping[Group, str]] = {
    "aggregators": "an aggregator",
    "server_optimizers": "a server optimizer",
    "objectives": "an objective",
    "update_transforms": "an update transform",
}
"""How a sentence calls a part of each kind."""


def installed_name(group: Group, name: str) -> str:
    """Return the installed plug-in's name that is meant; `name` itself if there is none."""
    names = plugins.installed_names(group)
    if name in names:
        return name
    same = [each for each in names if _plain(each) == _plain(name)]
    return same[0] if len(same) == 1 else name


def other_kind(group: Group, name: str) -> str:
    """Return of which other kind an unknown name is, as a hint; "" if it is none's."""
    if installed_name(group, name) in plugins.installed_names(group):
        return ""  # it is not allowed, or does not load
    for other, kind in _KINDS.items():
        if (found := installed_name(other, name)) in plugins.installed_names(other):
            return f"{found!r} is {kind}"
    return ""


def find_preset(name: str, allowed: Collection[str] | None) -> tuple[str, Preset]:
    """Return the strategy of a name with its id; an aggregator alone is a strategy too.

    Raises:
        PluginError: There is none of that name, or it is not allowed or does not load.
    """
    if (strategy := preset_id(name)) is not None:
        return strategy, load_plugin("strategies", strategy, allowed)
    strategies = plugins.installed_names("strategies")
    aggregators = plugins.installed_names("aggregators")
    if (aggregator := installed_name("aggregators", name)) in aggregators:
        return aggregator, Preset(aggregator=PluginChoice(id=aggregator))
    groups: tuple[Group, ...] = ("server_optimizers", "objectives", "update_transforms")
    for group in groups:
        if (part := installed_name(group, name)) in plugins.installed_names(group):
            raise PluginError(_chosen_as(group, name, part))
    near = nearest(name, (*strategies, *aggregators))
    meant = f"did you mean {near!r}? " if near else ""
    raise PluginError(
        f"no strategy or aggregator named {name!r}; {meant}installed: "
        f"{', '.join(sorted({*strategies, *aggregators}))}"
    )


def _chosen_as(group: Group, name: str, part: str) -> str:
    """Report how a job chooses a part that is no strategy by itself."""
    one = group.removesuffix("s")
    chosen = {group: [{"id": part}]} if group == "update_transforms" else {one: {"id": part}}
    said, kind = json.dumps(chosen), one.replace("_", " ")
    return (
        f"no strategy or aggregator named {name!r}; it is the name of an installed {kind}: choose "
        f'it with "strategy": {said}'
    )


def preset_id(name: str) -> str | None:
    """Return the installed strategy's id; None if the name is an aggregator's, or unknown."""
    strategies = plugins.installed_names("strategies")
    if (strategy := installed_name("strategies", name)) in strategies:
        return strategy
    if installed_name("aggregators", name) in plugins.installed_names("aggregators"):
        return None
    prefixed = installed_name("strategies", _PREFIX + _plain(name))
    return prefixed if prefixed in strategies else None


def _plain(name: str) -> str:
    return re.sub(r"[-_.]", "", name).lower()
