"""`fedbus models lineage`."""

from typing import Annotated

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.inputs.version_argument import ModelVersion
from fedbus.cli.output import display
from fedbus.cli.output.model_history import print_versions
from fedbus.client.asyncio_client import Client
from fedbus.client.model_names import PAGE_VERSIONS
from fedbus.errors import SettingsError
from fedbus.wire import codec
from fedbus.wire.messages import VersionFacts


def lineage(
    ctx: typer.Context,
    model: ModelVersion,
    descendants: Annotated[
        bool, typer.Option("--descendants", help="The versions that were made from it.")
    ] = False,
    leaves: Annotated[
        bool, typer.Option("--leaves", help="The versions that no other one was made from.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many versions.")
    ] = PAGE_VERSIONS,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the versions that a version was made from, the nearest first.

    A round makes its version from the one before, a release or rotation from its source. A pushed
    version begins a new line. --leaves shows the ends of all lines of a model, or with a version
    those that descend from it.
    """
    if descendants and leaves:
        raise SettingsError("expected --descendants or --leaves, got both; leave one out")

    async def ask(fed: Client) -> tuple[VersionFacts, ...]:
        most = None if everything else limit
        if leaves:
            return await fed.leaves(model, limit=most)
        return await (fed.descendants if descendants else fed.ancestors)(model, limit=most)

    found = call(broker_of(ctx), ask)
    if as_json:
        display.print_json([codec.to_plain(each) for each in found])
        return
    what = "leaves" if leaves else "descendants" if descendants else "ancestors"
    print_versions(found, nothing=f"{model} has no {what}")
    if not everything and len(found) == limit:
        display.show(f"{limit} versions; --limit N shows N, --all shows all")
