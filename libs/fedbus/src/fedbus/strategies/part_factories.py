"""Factories of a strategy's parts: loaded, and called with a job's parameters.

What fedbus does not ship may raise any exception, exit or hang, so it runs in a thread with a time
limit. The controller waits for it, so the limit is shorter than the lease.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from fedbus import plugins
from fedbus.errors import PluginError
from fedbus.plugins import Group, Plugin, Preset
from fedbus.plugins.isolation import call_isolated
from fedbus.training.params import Argument

FACTORY_SECONDS: Final = 5.0
"""Time limit of an import, and of a call of a factory."""

PartGroup: TypeAlias = Literal[
    "aggregators", "server_optimizers", "objectives", "update_transforms"
]
"""Kinds of plug-ins that a strategy is made of."""

T = TypeVar("T")


@overload
def load_plugin(
    group: Literal["strategies"], name: str, allowed: Collection[str] | None
) -> Preset: ...
@overload
def load_plugin(
    group: PartGroup, name: str, allowed: Collection[str] | None
) -> Callable[..., object]: ...
def load_plugin(group: Group, name: str, allowed: Collection[str] | None) -> Any:
    """Load a preset or a factory; `allowed` as for `plugins.load`.

    Raises:
        PluginError: It is not installed or allowed, its import fails or exceeds the limit, or it is
            no preset or factory.
    """
    plugin = plugins.find(group, name, allowed)
    loaded = _call(plugin, lambda: plugins.load(group, name, allowed))
    if group != "strategies" and not callable(loaded):
        kind = type(loaded).__name__
        raise PluginError(f"{group} plug-in {name!r}: expected a class or function, got a {kind}")
    return loaded


def is_shipped(group: Group, name: str) -> bool:
    """Return whether fedbus ships a plug-in of this name."""
    return name in plugins.allowed_names(group, ())


def make_part(
    group: PartGroup,
    name: str,
    factory: Callable[..., object],
    parameters: Mapping[str, Argument],
    allowed: Collection[str] | None,
) -> object:
    """Call a factory with parameters.

    Raises:
        PluginError: It raised or exceeded the limit; the message is that of its error.
    """
    return _call(plugins.find(group, name, allowed), lambda: factory(**parameters))


def _call(plugin: Plugin, call: Callable[[], T]) -> T:
    if is_shipped(plugin.group, plugin.name):
        try:
            return call()
        except (TypeError, ValueError, ArithmeticError) as error:
            raise PluginError(str(error)) from error
    return call_isolated(f"{plugin.group} {plugin.name}", call, FACTORY_SECONDS)
