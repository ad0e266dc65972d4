"""Entry point of the collector: settings and the core."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedbus.blobs.spool import Spools
from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus.runtime.settings import RepositoryNode, ServiceSettings
from fedbus_collector.collector_parts import PartsFactory
from fedbus_collector.core import CollectorCore
from fedbus_collector.model_cache import ModelCache
from fedbus_collector.rounds.round_collector import RoundResources


class CollectorSettings(ServiceSettings):
    """Settings of the collector beside those of every service."""

    repository: RepositoryNode = "repository.1"
    memory_mb: Annotated[
        int, Field(ge=1, description="MiB for updates and models; the rest goes to temporary files")
    ] = 160
    spool: Annotated[Path | None, Field(description="folder of the temporary files")] = None


def build(settings: CollectorSettings, identity: Identity) -> service.Built:
    """Build a collector from its settings."""
    spools = Spools(settings.memory_mb * 2**20, settings.spool)
    resources = RoundResources(spools, ModelCache(), PartsFactory(settings.plugins))
    return service.Built(CollectorCore(identity.incarnation, settings.repository, resources))
