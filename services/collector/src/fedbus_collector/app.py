"""Wire the collector to its doors."""

from functools import cache, partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedbus import plugins
from fedbus.blobs.spool import Spools
from fedbus.plugins import Aggregator
from fedbus.runtime import service
from fedbus.runtime.node import Identity
from fedbus.runtime.settings import ServiceSettings
from fedbus.scalars import IDENT
from fedbus_collector.aggregation.isolated_aggregator import IsolatedAggregator
from fedbus_collector.core import CollectorCore
from fedbus_collector.model_cache import ModelCache
from fedbus_collector.rounds.round_collector import RoundResources

REPOSITORY = rf"^repository\.{IDENT}$"


class CollectorSettings(ServiceSettings):
    """What the collector needs to know beyond every service."""

    repository: Annotated[
        str, Field(description="the repository's node, as repository.1", pattern=REPOSITORY)
    ] = "repository.1"
    memory_mb: Annotated[
        int, Field(ge=1, description="MiB for updates and models; the rest goes to temporary files")
    ] = 160
    spool: Annotated[Path | None, Field(description="folder of the temporary files")] = None


@cache
def aggregator(name: str, allowed: tuple[str, ...] | None = None) -> Aggregator:
    """Load an aggregator by name; `allowed` as for `plugins.load`.

    Raises:
        PluginError: there is none of that name, it is not allowed, or it cannot work update by
            update.
    """
    made = plugins.load("aggregators", name, allowed)
    ours = name in plugins.allowed_names("aggregators", ())
    return made if ours else IsolatedAggregator(name, made)


def build(settings: CollectorSettings, identity: Identity) -> service.Built:
    """Make a collector."""
    spools = Spools(settings.memory_mb * 2**20, settings.spool)
    resources = RoundResources(spools, ModelCache(), partial(aggregator, allowed=settings.plugins))
    return service.Built(CollectorCore(identity.incarnation, settings.repository, resources))


def main() -> None:
    """Run the collector."""
    service.main("collector", CollectorSettings, build)
