"""`fedbus models release`: an encrypted version, stored again for everyone to read."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.inputs.version_argument import ModelVersion, VersionNumber
from fedbus.cli.output import display
from fedbus.client import stored_models
from fedbus.client.asyncio_client import Client
from fedbus.client.derived_models import LEAST_RELEASED_AGENTS
from fedbus.client.model_downloads import blobs_of
from fedbus.client.names import version_choice
from fedbus.client.results import PushedModel
from fedbus.wire import codec


def release(
    ctx: typer.Context,
    model: ModelVersion,
    key: Annotated[
        Path, typer.Option("--key", metavar="FILE", help="The secret key file of the agents.")
    ],
    version: VersionNumber = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Let an older version replace the latest.")
    ] = False,
    least_agents: Annotated[
        int,
        typer.Option(
            min=1, help="The fewest updates in its sum; with 1, one agent's update may be shown."
        ),
    ] = LEAST_RELEASED_AGENTS,
    as_json: AsJson = False,
) -> None:
    """Decrypt an encrypted version on this machine, and store it as a new one that all can read.

    Any job can train from it, and inference services serve it. It keeps the metrics and the ε of
    its source, and the history of the model says who released it. Encrypted jobs that follow start
    from it: it is their anchor.
    """
    made = call(broker_of(ctx), partial(_release, model, version, key, reset, least_agents))
    if as_json:
        display.print_json(codec.to_plain(made.ref))
    else:
        display.show(f"{made.model} is released as version {made.version}, which is not encrypted")


async def _release(
    model: str, version: int | None, key: Path, reset: bool, least_agents: int, fed: Client
) -> PushedModel:
    choice = version_choice(model, version)
    ref = (await stored_models.show(fed.connection, choice, limit=1)).version
    size = sum(blob_ref.size for blob_ref in blobs_of(ref))
    with display.transfer_progress(f"{ref.model} version {ref.version}", size) as moved:
        return await fed.release(
            ref.model,
            ref.version,
            key=key,
            reset=reset,
            least_agents=least_agents,
            progress=moved,
        )
