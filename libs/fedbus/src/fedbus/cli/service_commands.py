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
    for entry in entry_points(group="fedbus.commands", name=name):
        outer.add_typer(entry.load(), name=name)
        break
    else:
        outer.add_typer(_missing(name), name=name)
    group: Any = get_command(outer)
    return group.commands[name]


def _missing(name: str) -> typer.Typer:
    needed = f"needs the package {NAMES[name]}: pip install {NAMES[name]}"
    app = typer.Typer(help=f"(It {needed})")

    @app.callback(
        invoke_without_command=True,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def missing() -> None:
        raise SettingsError(f"`fedbus {name}` {needed}")

    return app
