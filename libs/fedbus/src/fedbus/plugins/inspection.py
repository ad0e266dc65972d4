"""Inspection of installed plug-ins: faults of names, imports and signatures; none is called."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fedbus.errors import PluginError
from fedbus.plugins.call_signatures import Arguments, call_text, method_misfit, misfit
from fedbus.plugins.discovery import BUILTIN_PACKAGE, GROUPS, Group, Plugin, error_message, find_all
from fedbus.plugins.strategy_inspection import METHODS, entry_faults, preset_faults

FACTORY_METHODS: Final[Mapping[Group, Mapping[str, Arguments]]] = {
    "trainers": {"initial": (), "train": ("weights", "data", "params")},
    "runtimes": {"load": ("weights",), "predict": ("inputs",)},
}
"""Required methods of the objects that factories return; the factory takes an architecture."""
TRANSFORM: Final[Mapping[str, Arguments]] = {
    "transform_data": ("batch", "rng"),
    "transform_format": ("form",),
}
"""Methods of a transform; its factory may take any parameters."""
OPTIONAL_METHODS: Final[Mapping[str, Arguments]] = {
    "evaluate": ("weights", "data", "params"),
    "load": ("weights",),
    "predict": ("inputs",),
    "optimizer_state": (),
    "load_optimizer_state": ("state",),
}
"""Methods that a trainer may have, with the arguments they must then take."""
FUNCTIONS: Final[Mapping[Group, Arguments]] = {
    "models": ("config",),
    "loaders": ("path",),
    "selectors": ("agents", "want", "rng"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of inspecting one plug-in."""

    plugin: Plugin
    faults: tuple[str, ...]
    missing: str = ""
    """Why a built-in plug-in cannot be used: its framework is not installed, which is no fault."""


def inspect_all(allowed: Collection[str] | None = None) -> Iterator[Finding]:
    """Import and inspect all installed plug-ins; `allowed` as for `load`."""
    for group in GROUPS:
        for plugin in find_all(group):
            yield inspect_one(plugin, allowed)


def inspect_one(plugin: Plugin, allowed: Collection[str] | None = None) -> Finding:
    """Import a plug-in and compare it with the protocol of its kind."""
    faults = []
    if plugin.name_fault:
        return Finding(plugin, (plugin.name_fault,))
    claims = [p.where for p in find_all(plugin.group) if p.name == plugin.name and p != plugin]
    if claims:
        faults.append(f"{', '.join(claims)} has the same name; uninstall one of them")
    if not plugin.allowed(allowed):
        faults.append(f"not allowed here; FEDBUS_PLUGINS={plugin.name} allows it")
    try:
        made = plugin.import_object()
    except PluginError as error:
        cause = error.__cause__ or error
        if plugin.package == BUILTIN_PACKAGE and isinstance(cause, ImportError):
            return Finding(plugin, tuple(faults), str(cause))
        return Finding(plugin, (*faults, f"does not load: {error_message(cause)}"))
    return Finding(plugin, (*faults, *signature_faults(plugin.group, made)))


def signature_faults(group: Group, made: object) -> Iterator[str]:
    """Yield the methods that a plug-in of this kind lacks, and signatures that do not fit."""
    if group == "strategies":
        yield from preset_faults(made)
    elif group in METHODS:
        yield from entry_faults(group, made)
    elif not callable(made):
        yield f"expected a function or class, got a {type(made).__name__}"
    elif group in FACTORY_METHODS:
        yield from misfit("it", made, ("architecture",))
        yield from _methods(
            made, FACTORY_METHODS[group], OPTIONAL_METHODS if group == "trainers" else {}
        )
    elif group == "transforms":
        yield from _methods(made, TRANSFORM, {})
    elif group in FUNCTIONS:
        yield from misfit("it", made, FUNCTIONS[group])


def _methods(
    made: object, needed: Mapping[str, Arguments], optional: Mapping[str, Arguments]
) -> Iterator[str]:
    if not isinstance(made, type):
        return  # a factory function: `fedbus plugins check` sees what it returns
    for name, arguments in {**optional, **needed}.items():
        if hasattr(made, name):
            yield from method_misfit(made, name, arguments)
        elif name in needed:
            yield f"no method {call_text(name, arguments)}"
