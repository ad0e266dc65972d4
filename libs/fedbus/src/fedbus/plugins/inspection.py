"""Say what is wrong with an installed plug-in by looking at it: nothing of it is called."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedbus.errors import PluginError
from fedbus.plugins.discovery import BUILTIN_PACKAGE, GROUPS, Group, Plugin, error_message, find_all
from fedbus.plugins.protocols import Aggregator

Arguments = tuple[str, ...]

FACTORY_METHODS: Final[Mapping[Group, Mapping[str, Arguments]]] = {
    "trainers": {"initial": (), "train": ("weights", "data", "params")},
    "runtimes": {"load": ("weights",), "predict": ("inputs",)},
}
"""Kinds whose entry point is called with an architecture, and the methods of what that makes."""
TRANSFORM: Final[Mapping[str, Arguments]] = {
    "transform_data": ("batch", "rng"),
    "transform_format": ("form",),
}
"""The methods of what a transform's entry point makes, of whatever parameters it takes."""
FOLD: Final[Arguments] = ("total", "block", "weight")
"""What an aggregator's one method is called with."""
OPTIONAL_METHODS: Final[Mapping[str, Arguments]] = {
    "evaluate": ("weights", "data", "params"),
    "load": ("weights",),
    "predict": ("inputs",),
    "optimizer_state": (),
    "load_optimizer_state": ("state",),
}
"""What a trainer need not have, and must have right if it does."""
FUNCTIONS: Final[Mapping[Group, Arguments]] = {
    "models": ("config",),
    "loaders": ("path",),
    "selectors": ("agents", "want", "rng"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A plug-in, what is wrong with it, and why it is of no use here though nothing is wrong."""

    plugin: Plugin
    faults: tuple[str, ...]
    missing: str = ""
    """What a plug-in of ours would need: a framework that is not installed is nobody's fault."""


def inspect_all(allowed: Collection[str] | None = None) -> Iterator[Finding]:
    """Look at all plug-ins that are installed; `allowed` as for `load`. Imports them all."""
    for group in GROUPS:
        for plugin in find_all(group):
            yield inspect_one(plugin, allowed)


def inspect_one(plugin: Plugin, allowed: Collection[str] | None = None) -> Finding:
    """Import a plug-in and hold it against the protocol of its kind."""
    faults = []
    if plugin.name_fault:
        return Finding(plugin, (plugin.name_fault,))
    claims = [p.where for p in find_all(plugin.group) if p.name == plugin.name and p != plugin]
    if claims:
        faults.append(f"claimed twice: {', '.join(claims)} has the name as well")
    if not plugin.allowed(allowed):
        faults.append(f"not allowed here: FEDBUS_PLUGINS={plugin.name} would allow it")
    try:
        made = plugin.import_object()
    except PluginError as error:
        cause = error.__cause__ or error
        if plugin.package == BUILTIN_PACKAGE and isinstance(cause, ImportError):
            return Finding(plugin, tuple(faults), str(cause))
        return Finding(plugin, (*faults, f"does not load: {error_message(cause)}"))
    return Finding(plugin, (*faults, *signature_faults(plugin.group, made)))


def signature_faults(group: Group, made: object) -> Iterator[str]:
    """Name what a plug-in of this kind lacks: methods, or arguments that it will be called with."""
    if group == "aggregators":
        if isinstance(made, Aggregator):
            yield from _misfit("fold", made.fold, FOLD)
        else:
            yield f"no fold({', '.join(FOLD)})"
    elif not callable(made):
        yield f"it is a {type(made).__name__}, not a function or class"
    elif group in FACTORY_METHODS:
        yield from _misfit("it", made, ("architecture",))
        yield from _methods(
            made, FACTORY_METHODS[group], OPTIONAL_METHODS if group == "trainers" else {}
        )
    elif group == "transforms":
        yield from _methods(made, TRANSFORM, {})
    elif group in FUNCTIONS:
        yield from _misfit("it", made, FUNCTIONS[group])


def _methods(
    made: object, needed: Mapping[str, Arguments], powers: Mapping[str, Arguments]
) -> Iterator[str]:
    if not isinstance(made, type):
        return  # a function that makes trainers: what it makes is seen when it is tried
    for name, arguments in {**powers, **needed}.items():
        method = inspect.getattr_static(made, name, None)
        if method is None:
            if name in needed:
                yield f"no {name}({', '.join(arguments)})"
        elif isinstance(method, staticmethod | classmethod):
            yield from _misfit(name, getattr(made, name), arguments)
        else:
            yield from _misfit(name, getattr(made, name), arguments, bound=("self",))


def _misfit(
    what: str, call: Callable[..., Any], arguments: Arguments, bound: Arguments = ()
) -> Iterator[str]:
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return  # written in C: nothing to be seen
    try:
        signature.bind(*bound, *arguments)
    except TypeError as error:
        takes = [str(p) for p in list(signature.parameters.values())[len(bound) :]]
        yield (
            f"{what} takes ({', '.join(takes)}) and is called with ({', '.join(arguments)}): "
            f"{error}"
        )
