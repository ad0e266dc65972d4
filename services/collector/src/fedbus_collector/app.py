"""Entry point of the collector: settings and the core."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedbus.blobs.spool import Spools
from fedbus.errors import SettingsError
from fedbus.privacy.noise_key import read_noise_key
from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus.runtime.setting_names import PREFIX
from fedbus.runtime.settings import RepositoryNode, ServiceSettings
from fedbus_collector.aggregation.sum_folder import remove_left_folders
from fedbus_collector.collector_parts import PartsFactory
from fedbus_collector.core import CollectorCore
from fedbus_collector.encryption_key import CollectorKey
from fedbus_collector.model_cache import ModelCache
from fedbus_collector.noise_key_watch import NoiseKeyWatch
from fedbus_collector.rounds.round_components import RoundResources


class CollectorSettings(ServiceSettings):
    """Settings of the collector beside those of every service."""

    repository: RepositoryNode = "repository.1"
    memory_mb: Annotated[
        int, Field(ge=1, description="MiB for updates and models; the rest goes to temporary files")
    ] = 160
    spool: Annotated[Path | None, Field(description="folder of the temporary files")] = None
    noise_key: Annotated[
        Path | None,
        Field(
            description="file of the key that noise of private jobs is drawn with, the same on all "
            "collectors; see `fedbus privacy key`"
        ),
    ] = None
    encryption_key: Annotated[
        Path | None,
        Field(
            description="file of the public key that updates of encrypted jobs are added with, the "
            "same on all collectors; see `fedbus keys generate`"
        ),
    ] = None


def build(settings: CollectorSettings, identity: Identity) -> service.Built:
    """Build a collector from its settings; raise SettingsError if one of its keys is unusable."""
    spools = Spools(settings.memory_mb * 2**20, settings.spool)
    parts = PartsFactory(settings.plugins)
    key = key_of(settings.encryption_key)
    remove_left_folders(spools.folder)
    resources = RoundResources(spools, ModelCache(), parts, watch_of(settings.noise_key), key)
    core = CollectorCore(identity.incarnation, settings.repository, resources)
    return service.Built(core, close=key.close)


def watch_of(path: Path | None) -> NoiseKeyWatch:
    """Read the noise key of FEDBUS_NOISE_KEY, if it is set; raise SettingsError if it is none."""
    if path is None:
        return NoiseKeyWatch()
    try:
        return NoiseKeyWatch(path, read_noise_key(path))
    except SettingsError as error:
        raise SettingsError(f"{PREFIX}NOISE_KEY: {error}") from error


def key_of(path: Path | None) -> CollectorKey:
    """Read the key of FEDBUS_ENCRYPTION_KEY, if it is set; raise SettingsError if it is none."""
    if path is None:
        return CollectorKey()
    try:
        return CollectorKey.read(path)
    except SettingsError as error:
        raise SettingsError(f"{PREFIX}ENCRYPTION_KEY: {error}") from error
