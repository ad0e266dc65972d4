"""Discovery of plug-ins by the entry points of installed packages; loading of those allowed."""

import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast, get_args, overload

from fedbus.distributions import name_and_version
from fedbus.errors import PluginError
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.text import listed, nearest
from fedbus.training.options import extra_of

if TYPE_CHECKING:
    from fedbus.plugins.objective_protocols import ObjectiveFactory
    from fedbus.plugins.protocols import Loader, ModelFactory, Selector
    from fedbus.plugins.strategy_protocols import (
        AggregatorFactory,
        Preset,
        ServerOptimizerFactory,
        UpdateTransformFactory,
    )
    from fedbus.plugins.trainer_protocols import RuntimeFactory, TrainerFactory

Group = Literal[
    "trainers",
    "models",
    "loaders",
    "transforms",
    "strategies",
    "aggregators",
    "server_optimizers",
    "objectives",
    "update_transforms",
    "selectors",
    "runtimes",
]
GROUPS: Final[tuple[Group, ...]] = get_args(Group)
BUILTIN_PACKAGE: Final = "fedbus"
"""The package whose plug-ins are allowed in every process."""
ALL: Final = "all"
"""The value of `FEDBUS_PLUGINS` that allows every installed plug-in."""
MAX_PLUGIN_ERROR_CHARACTERS: Final = 500
"""Of the text of a plug-in's error; the rest is cut."""

Allowed: TypeAlias = Collection[str] | None
"""What settings allow besides built-in plug-ins: names, packages or `all`; None: all installed."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """The entry point of an installed plug-in, not yet imported.

    `package` and `version` are those of its distribution, and empty where it has none.
    """

    group: Group
    name: str
    entry: EntryPoint
    package: str = ""
    version: str = ""

    @property
    def where(self) -> str:
        """The module, and the name in it: `acme_fl.tiny:TinyTrainer`."""
        return self.entry.value

    @property
    def name_fault(self) -> str:
        """Why jobs and agents cannot use this plug-in's name; empty if they can."""
        if re.fullmatch(IDENT, self.name):
            return ""
        return f"expected a name of {IDENT_SAID}, got {self.name[:80]!a}; rename the entry point"

    def allowed(self, words: Allowed) -> bool:
        """Return whether settings allow it: by name, package or `all`; built-ins always are."""
        return not self.name_fault and (
            _plain(self.package) == BUILTIN_PACKAGE or self.named(words)
        )

    def named(self, words: Allowed) -> bool:
        """Return whether settings name it, whether it is built in or not."""
        if words is None or ALL in words or self.name in words:
            return True
        return _plain(self.package) in map(_plain, words)

    def import_object(self) -> object:
        """Import what the entry point names.

        Raises:
            PluginError: The import failed; the message has the error or names the missing package.
        """
        try:
            return cast("object", self.entry.load())
        except (Exception, SystemExit) as error:  # a third-party module may raise anything
            name = error.name if isinstance(error, ModuleNotFoundError) else None
            missing = (name or "").partition(".")[0]
            extra = extra_of(missing) if self.package == BUILTIN_PACKAGE else None
            plugin_name = f"{self.group} plug-in {self.name!r}"
            why = f"{plugin_name} ({self.where}) does not load: {error_message(error)}"
            if extra is not None:
                why = f"{plugin_name} needs {missing}: pip install 'fedbus[{extra}]'"
            raise PluginError(why) from error


def error_message(error: BaseException) -> str:
    """Format an error of a plug-in; SystemExit and KeyError have a bare number or key as text."""
    kind = type(error).__name__
    try:
        text = str(error)
    except (Exception, SystemExit):  # noqa: BLE001 - a plug-in's own class may do anything
        return f"{kind}, whose text cannot be read"
    if len(text) > MAX_PLUGIN_ERROR_CHARACTERS:
        text = f"{text[:MAX_PLUGIN_ERROR_CHARACTERS]}…"
    if isinstance(error, SystemExit):
        return f"it called sys.exit: {text}"
    return f"KeyError: {text}" if isinstance(error, KeyError) else text or kind


@overload
def load(group: Literal["trainers"], name: str, allowed: Allowed = None) -> "TrainerFactory": ...
@overload
def load(group: Literal["models"], name: str, allowed: Allowed = None) -> "ModelFactory": ...
@overload
def load(group: Literal["loaders"], name: str, allowed: Allowed = None) -> "Loader": ...
@overload
def load(group: Literal["strategies"], name: str, allowed: Allowed = None) -> "Preset": ...
@overload
def load(
    group: Literal["aggregators"], name: str, allowed: Allowed = None
) -> "AggregatorFactory": ...
@overload
def load(
    group: Literal["server_optimizers"], name: str, allowed: Allowed = None
) -> "ServerOptimizerFactory": ...
@overload
def load(
    group: Literal["objectives"], name: str, allowed: Allowed = None
) -> "ObjectiveFactory": ...
@overload
def load(
    group: Literal["update_transforms"], name: str, allowed: Allowed = None
) -> "UpdateTransformFactory": ...
@overload
def load(group: Literal["selectors"], name: str, allowed: Allowed = None) -> "Selector": ...
@overload
def load(group: Literal["runtimes"], name: str, allowed: Allowed = None) -> "RuntimeFactory": ...
@overload
def load(group: Group, name: str, allowed: Allowed = None) -> object: ...
def load(group: Group, name: str, allowed: Allowed = None) -> object:
    """Find and import a plug-in; its framework is imported here and not before.

    Raises:
        PluginError: No plug-in of that name is installed or allowed, two packages have one of that
            name, its import fails, or it is a strategy and not a `Preset`.
    """
    plugin = find(group, name, allowed).import_object()
    if group == "strategies":
        # Its module has all protocols of strategies, which an inference service never needs.
        from fedbus.plugins.strategy_protocols import Preset  # noqa: PLC0415

        if not isinstance(plugin, Preset):
            kind = type(plugin).__name__
            raise PluginError(f"strategy {name!r}: expected a Preset, got a {kind}")
    return plugin


def find(group: Group, name: str, allowed: Allowed = None) -> Plugin:
    """Find a plug-in without importing it; arguments as for `load`.

    Raises:
        PluginError: No plug-in of that name is installed or allowed, or two packages have one.
    """
    claims = [plugin for plugin in find_all(group) if plugin.name == name]
    if not claims:
        there = installed_names(group)
        near = nearest(name, there)
        meant = f"did you mean {near!r}? " if near else ""
        raise PluginError(f"no {group} plug-in named {name!r}; {meant}installed: {_all(there)}")
    if wrong := claims[0].name_fault:
        raise PluginError(f"{group} plug-in of {claims[0].package}: {wrong}")
    allowed_here = [plugin for plugin in claims if plugin.allowed(allowed)]
    if not allowed_here:
        raise PluginError(
            f"{group} plug-in {name!r} of {claims[0].package} is not allowed here; "
            f"allowed: {_all(allowed_names(group, allowed))} (FEDBUS_PLUGINS={name} allows it)"
        )
    if len(allowed_here) > 1:
        places = listed(plugin.where for plugin in allowed_here)
        raise PluginError(f"two {group} plug-ins are named {name!r}: {places}; uninstall one")
    return allowed_here[0]


def installed_names(group: Group) -> tuple[str, ...]:
    """Return the names of the installed plug-ins of a kind, sorted, without importing any."""
    return tuple(sorted({plugin.name for plugin in find_all(group)}))


def allowed_names(group: Group, allowed: Allowed) -> tuple[str, ...]:
    """Return the names of the plug-ins of a kind that settings allow, sorted."""
    return tuple(sorted({p.name for p in find_all(group) if p.allowed(allowed)}))


def find_all(group: Group) -> tuple[Plugin, ...]:
    """Return the plug-ins of a kind, sorted by name, without importing any."""
    # Scanning all installed packages takes about 10 ms, so it is done once for each path.
    return _on_path(group, tuple(sys.path))


@lru_cache(maxsize=64)
def _on_path(group: Group, _path: tuple[str, ...]) -> tuple[Plugin, ...]:
    # One package may be on the path twice; that is one plug-in.
    each = {(entry.name, entry.value): entry for entry in entry_points(group=f"fedbus.{group}")}
    return tuple(_plugin(group, each[key]) for key in sorted(each))


def _plugin(group: Group, entry: EntryPoint) -> Plugin:
    if entry.dist is None:
        return Plugin(group, entry.name, entry)
    return Plugin(group, entry.name, entry, *name_and_version(entry.dist))


def _plain(package: str) -> str:
    return package.lower().replace("_", "-").replace(".", "-")


def _all(names: Collection[str]) -> str:
    return listed(names) or "none"
