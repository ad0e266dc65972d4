"""Cluster and broker chosen on the command line; the broker is looked up when needed."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from fedbus.cli.output import display
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def cluster_of(ctx: typer.Context) -> Path | None:
    """Return the home that `--cluster` names, at any place of the command line."""
    given = ctx.find_root().params.get("cluster")
    return given.resolve() if isinstance(given, Path) else None


def broker_of(ctx: typer.Context) -> BrokerLogin:
    """Find the broker of this command.

    Raises:
        SettingsError: FEDBUS_BROKER is not a broker URL.
        Unreachable: no broker is named and no cluster runs on this machine.
    """
    found = ctx.find_root().obj()
    assert isinstance(found, BrokerLogin)  # noqa: S101 - main.py puts it there
    return found


def call(here: BrokerLogin, request: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    """Run one request of a client in a new event loop, and return its result."""

    async def run() -> T:
        async with Client(here, display.warn) as fed:
            return await request(fed)

    return asyncio.run(run())
