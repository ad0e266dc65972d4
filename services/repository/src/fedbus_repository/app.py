"""Entry point of the repository: settings, store and core."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus.runtime.public_key_setting import public_key_of
from fedbus.runtime.settings import ServiceSettings
from fedbus.runtime.shell import Shell
from fedbus_repository.core import RepositoryCore
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.stores.opening import database_of, open_store

if TYPE_CHECKING:
    from fedbus.runtime.http import HttpApi


class RepositorySettings(ServiceSettings):
    """Settings of the repository beside those of every service."""

    data: Annotated[
        Path, Field(description="folder of the store; with FEDBUS_STORE, of blobs being received")
    ] = Path("data")
    store: Annotated[
        str,
        Field(
            description="mongodb://USER@HOST:PORT/DATABASE: the database of records and blobs; "
            "without it they are in the folder of FEDBUS_DATA"
        ),
    ] = ""
    store_password_file: Annotated[
        Path | None, Field(description="a file that holds the password of FEDBUS_STORE's user")
    ] = None
    store_ca_file: Annotated[
        Path | None,
        Field(
            description="CA certificates in PEM that FEDBUS_STORE's server must have one of; with "
            "it the connection uses TLS"
        ),
    ] = None
    keep_versions: Annotated[
        int, Field(ge=1, description="versions of a model that keep their weights")
    ] = 10
    encryption_key: Annotated[
        Path | None,
        Field(
            description="file of the public encryption key; if it is set, versions of another key "
            "are refused; see `fedbus keys generate`"
        ),
    ] = None
    lease_seconds: Annotated[
        float, Field(gt=0, le=3600, description="how long a controller may act without a renewal")
    ] = 15.0


def build(settings: RepositorySettings, identity: Identity) -> service.Built:
    """Build a repository on the store that its settings name.

    Raises:
        SettingsError: Its key or its store's settings cannot be used.
        StoreError: The store cannot be opened.
    """
    key = public_key_of(settings.encryption_key)
    watch = service.fault_point() or (lambda _: None)
    store = open_store(
        settings.data,
        database_of(settings.store, settings.store_password_file, settings.store_ca_file),
        keep=settings.keep_versions,
        on_step=lambda step: watch(f"store:{step}"),
    )
    core = RepositoryCore(
        identity.name,
        store,
        lease_seconds=settings.lease_seconds,
        encryption_key=None if key is None else key.id,
    )

    def http_api(shell: Shell) -> "HttpApi":
        # aiohttp is imported only if FEDBUS_HTTP is set
        from fedbus.http_api.routes import api_off  # noqa: PLC0415
        from fedbus_repository.http.api import repository_api  # noqa: PLC0415

        if settings.http_tokens_file is None:
            return api_off()
        specs = SpecReader(store, None if key is None else key.id)
        return repository_api(store, specs, shell, settings.http_tokens_file)

    return service.Built(core, stored=store, close=store.close, http_api=http_api)
