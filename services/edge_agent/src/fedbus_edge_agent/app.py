"""Wire an agent to its doors."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from fedbus import plugins, service
from fedbus.data import describe
from fedbus.errors import FedbusError, SettingsError
from fedbus.node import Identity
from fedbus.settings import ServiceSettings
from fedbus.spool import Spools
from fedbus_edge_agent.capabilities import measure
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.outbox import Outbox
from fedbus_edge_agent.work import Workbench
from fedbus_edge_agent.worker import STALL_SECONDS

IN_MEMORY = 8 * 2**30


class AgentSettings(ServiceSettings):
    """What an agent needs to know beyond every service."""

    data: Annotated[Path, Field(description="what the loader reads: an .npz shard with x and y")]
    loader: Annotated[str, Field(description="the loader plug-in that reads it")] = "npz"
    trainer: Annotated[
        str | None, Field(description="the trainer plug-in; by default one that is installed")
    ] = None
    roles: Annotated[
        tuple[Literal["train", "evaluate"], ...],
        Field(description="train, evaluate, or both with a comma between", min_length=1),
    ] = ("train",)
    home: Annotated[Path, Field(description="where updates are kept until they are stored")] = Path(
        "fedbus-agent"
    )
    threads: Annotated[int, Field(ge=1, le=64, description="worker threads")] = 1
    stall_seconds: Annotated[
        float,
        Field(ge=1, le=86_400, description="training without a batch for so long hangs"),
    ] = STALL_SECONDS

    @field_validator("roles", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def build(settings: AgentSettings, identity: Identity) -> service.Built:
    """Make an agent.

    Raises:
        SettingsError: the data cannot be loaded.
    """
    try:
        data = plugins.load("loaders", settings.loader)(str(settings.data))
        form = describe(data)
    except FedbusError as error:
        raise SettingsError(f"FEDBUS_DATA: {error}") from error
    outbox = Outbox(settings.home / identity.name)
    bench = Workbench(outbox, data, settings.trainer, allowed=settings.plugins)
    facts = partial(
        measure,
        settings.roles,
        data.examples,
        form,
        settings.home,
        trainers=bench.trainers.here(),
    )
    spools = Spools(IN_MEMORY, settings.home)
    return service.Built(AgentCore(bench, outbox, spools, facts, settings.stall_seconds))


def main() -> None:
    """Run an agent."""
    service.main("agent", AgentSettings, build)
