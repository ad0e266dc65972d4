"""What a command finds in its context: a way to find the broker, looked for only when needed."""

import typer

from fedbus.cli.where import Where


def broker_of(ctx: typer.Context) -> Where:
    """Find the broker this command talks to.

    Raises:
        SettingsError: FEDBUS_BROKER cannot be read.
        Unreachable: there is none.
    """
    found = ctx.find_root().obj()
    assert isinstance(found, Where)  # noqa: S101 - main.py puts it there
    return found
