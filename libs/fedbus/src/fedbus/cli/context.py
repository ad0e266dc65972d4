"""What a command finds in its context: a way to find the broker, looked for only when needed."""

from pathlib import Path

import typer

from fedbus.client.address import BrokerLogin


def cluster_of(ctx: typer.Context) -> Path | None:
    """Tell the home that `--cluster` names, wherever it stands on the command line."""
    given = ctx.find_root().params.get("cluster")
    return given.resolve() if isinstance(given, Path) else None


def broker_of(ctx: typer.Context) -> BrokerLogin:
    """Find the broker this command talks to.

    Raises:
        SettingsError: FEDBUS_BROKER cannot be read.
        Unreachable: there is none.
    """
    found = ctx.find_root().obj()
    assert isinstance(found, BrokerLogin)  # noqa: S101 - main.py puts it there
    return found
