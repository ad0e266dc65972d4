"""Entry point of the repository: settings to store and core."""

from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus_repository.core import RepositoryCore
from fedbus_repository.settings import RepositorySettings
from fedbus_repository.stores.sqlite.store import SqliteStore


def build(settings: RepositorySettings, identity: Identity) -> service.Built:
    """Build a repository on the embedded store."""
    watch = service.fault_point() or (lambda _: None)
    store = SqliteStore(
        settings.data, keep=settings.keep_versions, on_step=lambda step: watch(f"store:{step}")
    )
    core = RepositoryCore(identity.name, store, lease_seconds=settings.lease_seconds)
    return service.Built(core, find_blob=store.open_blob, close=store.close)


def main() -> None:
    """Run the repository."""
    service.main("repository", RepositorySettings, build)
