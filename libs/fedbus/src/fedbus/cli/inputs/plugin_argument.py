"""Plug-in argument of `fedbus plugins show` and `check`: NAME, or KIND:NAME."""

from fedbus.errors import PluginError
from fedbus.plugins import Plugin
from fedbus.plugins.discovery import GROUPS, find_all, installed_names
from fedbus.text import nearest


def find_plugins(name: str) -> list[Plugin]:
    """Return the installed plug-ins of a name, of all kinds or of the one before the colon.

    Raises:
        PluginError: there is none; the message names the nearest one, and all.
    """
    kind, _, bare = name.rpartition(":")
    matching = [
        plugin
        for group in GROUPS
        if kind in {"", group}
        for plugin in find_all(group)
        if plugin.name == bare
    ]
    if not matching:
        there = ", ".join(f"{g}:{n}" for g in GROUPS for n in installed_names(g))
        near = nearest(bare, [n for g in GROUPS if kind in {"", g} for n in installed_names(g)])
        meant = f"did you mean {near!r}? " if near else ""
        raise PluginError(f"no plug-in named {name!r}; {meant}installed: {there}")
    return matching
