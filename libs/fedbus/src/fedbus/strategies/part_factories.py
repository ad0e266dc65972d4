"""Factories of a strategy's parts: loaded, and called with a job's parameters.

What fedbus does not ship may raise any exception, exit or hang, so it runs in a thread with a time
limit. The controller waits for it, so the limit is shorter than the lease, and all parts of a
strategy have one limit together.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from fedbus import plugins
from fedbus.core import clock
from fedbus.errors import PluginError
from fedbus.plugins import Group, Plugin, Preset
from fedbus.plugins.isolation import CallTimeoutError, call_isolated
from fedbus.plugins.strategy_inspection import read_attributes
from fedbus.training.params import Argument

STRATEGY_SECONDS: Final = 5.0
"""Time limit of all imports and calls of factories for one strategy: a third of the lease."""
_left: ContextVar[list[float] | None] = ContextVar("_left", default=None)
"""What is left of STRATEGY_SECONDS, in a list of one number."""
_unfinished: dict[tuple[str, ...], threading.Thread] = {}
"""Threads of calls that exceeded the limit, by the plug-in and the parameters."""

PartGroup: TypeAlias = Literal[
    "aggregators", "server_optimizers", "objectives", "update_transforms"
]
"""Kinds of plug-ins that a strategy is made of."""

T = TypeVar("T")


@contextmanager
def limited_time() -> Iterator[None]:
    """Limit the time of all calls inside to STRATEGY_SECONDS together."""
    token = _left.set([STRATEGY_SECONDS])
    try:
        yield
    finally:
        _left.reset(token)


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
        PluginError: It is not installed or allowed, its import fails, or it is no preset or
            factory.
        CallTimeoutError: Its import exceeds the limit.
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


def read_part(
    group: PartGroup,
    name: str,
    factory: Callable[..., object],
    parameters: Mapping[str, Argument],
    allowed: Collection[str] | None,
) -> dict[str, Any]:
    """Call a factory with parameters; return the optional attributes of the part that it makes.

    Raises:
        PluginError: It raised, and the message is that of its error; or an attribute is not what is
            expected.
        CallTimeoutError: It exceeded the limit.
    """
    plugin = plugins.find(group, name, allowed)
    return _call(plugin, lambda: read_attributes(group, factory(**parameters)), str(parameters))


def _call(plugin: Plugin, call: Callable[[], T], parameters: str = "") -> T:
    if is_shipped(plugin.group, plugin.name):
        try:
            return call()
        except (TypeError, ValueError, ArithmeticError) as error:
            raise PluginError(str(error)) from error
    key = plugin.group, plugin.name, plugin.where, parameters
    earlier = _unfinished.get(key)
    if earlier is not None and earlier.is_alive():  # no second thread, and no second wait
        raise CallTimeoutError("an earlier call of it has not ended yet", earlier)
    left = _left.get() or [STRATEGY_SECONDS]
    if left[0] <= 0:
        raise CallTimeoutError(
            f"no time is left for it: the parts of a strategy have {STRATEGY_SECONDS:g} s together"
        )
    began = clock.monotonic()
    try:
        return call_isolated(f"{plugin.group} {plugin.name}", call, left[0])
    except CallTimeoutError as error:
        if error.thread is not None:
            _unfinished[key] = error.thread
        raise
    finally:
        left[0] -= clock.monotonic() - began
