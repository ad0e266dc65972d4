"""Entry point of the repository: settings, store and core."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus.runtime.settings import ServiceSettings
from fedbus_repository.core import RepositoryCore
from fedbus_repository.stores.sqlite.store import SqliteStore


class RepositorySettings(ServiceSettings):
    """Settings of the repository beside those of every service."""

    data: Annotated[Path, Field(description="folder of the store")] = Path("data")
    keep_versions: Annotated[
        int, Field(ge=1, description="versions of a model that keep their weights")
    ] = 10
    lease_seconds: Annotated[
        float, Field(gt=0, le=3600, description="how long a controller may act without a renewal")
    ] = 15.0


def build(settings: RepositorySettings, identity: Identity) -> service.Built:
    """Build a repository on the embedded store."""
    watch = service.fault_point() or (lambda _: None)
    store = SqliteStore(
        settings.data, keep=settings.keep_versions, on_step=lambda step: watch(f"store:{step}")
    )
    core = RepositoryCore(identity.name, store, lease_seconds=settings.lease_seconds)
    return service.Built(core, find_blob=store.open_blob, close=store.close)
