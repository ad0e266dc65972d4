"""Commands that the package of a service adds: the library cannot import a service.

A package registers a typer application as an entry point of the group `fedbus.commands`.
"""

from importlib.metadata import entry_points
from typing import Any, Final, Literal

import typer
from typer.main import get_command

from fedbus.errors import SettingsError

NAMES: Final = {"store": "fedbus-repository"}
"""The commands, and the package of each."""


def load_command(name: str, markup: Literal["rich"] | None) -> Any:  # noqa: ANN401 - of click
    """Import a command; without its package, return one that says what to install."""
    outer = typer.Typer(add_completion=False, rich_markup_mode=markup)
    outer.callback()(lambda: None)  # makes it a group, also with one command
    for entry in entry_points(group="fedbus.commands", name=name):
        outer.add_typer(entry.load(), name=name)
        break
    else:
        _add_missing(outer, name)
    group: Any = get_command(outer)
    return group.commands[name]


def _add_missing(outer: typer.Typer, name: str) -> None:
    """Add a command that takes any words: `fedbus store check` states what is missing, too."""
    needed = f"needs the package {NAMES[name]}: pip install {NAMES[name]}"

    @outer.command(
        name,
        help=f"(It {needed})",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def missing() -> None:
        raise SettingsError(f"`fedbus {name}` {needed}")
