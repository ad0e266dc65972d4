"""Find plug-ins by the entry points of installed packages, and load those that are allowed."""

import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Literal, get_args, overload

from fedbus.errors import PluginError
from fedbus.jobs.faults import nearest
from fedbus.plugins.protocols import (
    Aggregator,
    Loader,
    ModelFactory,
    RuntimeFactory,
    Selector,
    TrainerFactory,
)
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.text import listed
from fedbus.training.options import extra_of

Group = Literal[
    "trainers", "models", "loaders", "transforms", "aggregators", "selectors", "runtimes"
]
GROUPS: Final[tuple[Group, ...]] = get_args(Group)
BUILTIN_PACKAGE: Final = "fedbus"
"""The package whose plug-ins are allowed everywhere."""
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point: something that is installed, not yet imported.

    `package` is the distribution that names it: read once, for it is a file that is parsed.
    """

    group: Group
    name: str
    entry: EntryPoint
    package: str = ""
    version: str = ""

    @property
    def where(self) -> str:
        """The module and the name in it, `acme_fl.tiny:TinyTrainer`."""
        return self.entry.value

    @property
    def name_fault(self) -> str:
        """Why no job could name it, and no agent announce it; nothing if they can."""
        if re.fullmatch(IDENT, self.name):
            return ""
        return f"its name {self.name[:80]!a} can stand in no job: a name is {IDENT_SAID}"

    def allowed(self, words: Collection[str] | None) -> bool:
        """Say whether settings allow it: by its name, its package, or `all`; ours always are."""
        return not self.name_fault and (
            _plain(self.package) == BUILTIN_PACKAGE or self.named(words)
        )

    def named(self, words: Collection[str] | None) -> bool:
        """Say whether settings name it, be it ours or not."""
        if words is None or ALL in words or self.name in words:
            return True
        return _plain(self.package) in map(_plain, words)

    def import_object(self) -> object:
        """Import what the entry point names; a class of aggregators is made.

        Raises:
            PluginError: whatever the import raised, in a sentence.
        """
        try:
            plugin: object = self.entry.load()
            return plugin() if self.group == "aggregators" and isinstance(plugin, type) else plugin
        except (Exception, SystemExit) as error:  # whatever somebody's module may raise
            name = error.name if isinstance(error, ModuleNotFoundError) else None
            missing = (name or "").partition(".")[0]
            extra = extra_of(missing) if self.package == BUILTIN_PACKAGE else None
            if extra is not None:
                raise PluginError(
                    f"{self.group} plug-in {self.name!r} needs {missing}: "
                    f"pip install 'fedbus[{extra}]'"
                ) from error
            raise PluginError(
                f"{self.group} plug-in {self.name!r} ({self.where}) does not load: "
                f"{error_message(error)}"
            ) from error


def error_message(error: BaseException) -> str:
    """Tell what somebody's code raised; what ends a process says no more than a number."""
    if isinstance(error, SystemExit):
        return f"it wanted to exit: {error}"
    return str(error) or type(error).__name__


@overload
def load(
    group: Literal["trainers"], name: str, allowed: Collection[str] | None = None
) -> TrainerFactory: ...
@overload
def load(
    group: Literal["models"], name: str, allowed: Collection[str] | None = None
) -> ModelFactory: ...
@overload
def load(
    group: Literal["loaders"], name: str, allowed: Collection[str] | None = None
) -> Loader: ...
@overload
def load(
    group: Literal["aggregators"], name: str, allowed: Collection[str] | None = None
) -> Aggregator: ...
@overload
def load(
    group: Literal["selectors"], name: str, allowed: Collection[str] | None = None
) -> Selector: ...
@overload
def load(
    group: Literal["runtimes"], name: str, allowed: Collection[str] | None = None
) -> RuntimeFactory: ...
@overload
def load(group: Group, name: str, allowed: Collection[str] | None = None) -> object: ...
def load(group: Group, name: str, allowed: Collection[str] | None = None) -> object:
    """Find and import a plug-in; only this imports its framework.

    Args:
        group: Its kind.
        name: Its entry point's name.
        allowed: What this process's own settings allow beside what fedbus ships: names of plug-ins
            or of packages, or `all`. None allows all that are installed.

    Raises:
        PluginError: none of that name is installed or allowed, two packages claim the name, its
            import fails, or it is an aggregator that cannot add one update at a time.
    """
    plugin = find(group, name, allowed).import_object()
    if group == "aggregators" and not isinstance(plugin, Aggregator):
        raise PluginError(
            f"aggregator {name!r} has no fold(total, block, weight), by which collectors add one "
            "update at a time; docs/plugins.md has an example"
        )
    return plugin


def find(group: Group, name: str, allowed: Collection[str] | None = None) -> Plugin:
    """Find a plug-in without importing it; arguments as for `load`.

    Raises:
        PluginError: none of that name is installed or allowed, or two packages claim the name.
    """
    claims = [plugin for plugin in find_all(group) if plugin.name == name]
    if not claims:
        there = installed_names(group)
        near = nearest(name, there)
        meant = f"did you mean {near!r}? " if near else ""
        raise PluginError(f"no {group} plug-in named {name!r}; {meant}installed: {_all(there)}")
    if wrong := claims[0].name_fault:
        raise PluginError(f"{group} plug-in of {claims[0].package}: {wrong}")
    ours = [plugin for plugin in claims if plugin.allowed(allowed)]
    if not ours:
        raise PluginError(
            f"{group} plug-in {name!r} of {claims[0].package} is not allowed here; "
            f"allowed: {_all(allowed_names(group, allowed))} (FEDBUS_PLUGINS={name} allows it)"
        )
    if len(ours) > 1:
        raise PluginError(f"{group} plug-in {name!r} is claimed twice: {_all(_claims(ours))}")
    return ours[0]


def installed_names(group: Group) -> tuple[str, ...]:
    """Name the plug-ins of a kind, sorted, without importing any."""
    return tuple(sorted({plugin.name for plugin in find_all(group)}))


def allowed_names(group: Group, allowed: Collection[str] | None) -> tuple[str, ...]:
    """Name those of them that settings allow."""
    return tuple(sorted({p.name for p in find_all(group) if p.allowed(allowed)}))


def find_all(group: Group) -> tuple[Plugin, ...]:
    """Find the plug-ins of a kind, by name and claim, without importing any."""
    # To go through all installed packages takes some 10 ms, so it is done once for each path.
    return _on_path(group, tuple(sys.path))


@lru_cache(maxsize=64)
def _on_path(group: Group, _path: tuple[str, ...]) -> tuple[Plugin, ...]:
    # One package may be on the path twice; that is one plug-in.
    each = {(entry.name, entry.value): entry for entry in entry_points(group=f"fedbus.{group}")}
    return tuple(_plugin(group, each[key]) for key in sorted(each))


def _plugin(group: Group, entry: EntryPoint) -> Plugin:
    dist = entry.dist
    if dist is None:
        return Plugin(group, entry.name, entry, "", "")
    return Plugin(group, entry.name, entry, dist.name, dist.version)


def _claims(plugins: Iterable[Plugin]) -> list[str]:
    return [plugin.where for plugin in plugins]


def _plain(package: str) -> str:
    return package.lower().replace("_", "-").replace(".", "-")


def _all(names: Collection[str]) -> str:
    return listed(names) or "none"
