"""Construction of a repository from its settings."""

from pathlib import Path

import pytest

from fedbus.core.actions import AnnounceEncryptionKey
from fedbus.core.events import Connected
from fedbus.encryption.key_files import PublicKey, SecretKey
from fedbus.encryption.parameters import choose_parameters
from fedbus.errors import SettingsError
from fedbus.runtime.identity import Identity
from fedbus.runtime.settings import settings_from
from fedbus.wire.blobs import blob_ref_of
from fedbus_repository.app import RepositorySettings, build
from fedbus_repository.core import RepositoryCore
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.harness import FILE, push

IDENTITY = Identity(name="repository.1", incarnation=1)


def test_a_repository_serves_what_its_folder_holds(tmp_path: Path) -> None:
    """And lets go of the folder at its end."""
    store = SqliteStore(tmp_path)
    push(store)
    store.close()
    built = build(RepositorySettings(data=tmp_path), IDENTITY)
    assert isinstance(built.core, RepositoryCore)
    assert built.find_blob is not None
    source = built.find_blob(blob_ref_of(FILE).digest)
    assert source is not None
    assert source.size == len(FILE)
    built.close()
    assert not (tmp_path / "repository.db-wal").exists()


def test_its_settings_come_from_the_environment() -> None:
    """A bad one is named."""
    settings = settings_from(
        {"FEDBUS_DATA": "there", "FEDBUS_KEEP_VERSIONS": "3"}, RepositorySettings
    )
    assert (settings.data, settings.keep_versions, settings.lease_seconds) == (Path("there"), 3, 15)
    with pytest.raises(SettingsError, match="FEDBUS_KEEP_VERSIONS"):
        settings_from({"FEDBUS_KEEP_VERSIONS": "0"}, RepositorySettings)


def test_a_secret_encryption_key_is_refused(tmp_path: Path) -> None:
    """Only agents may have it; with the public one, TenSEAL is not needed."""
    parameters = choose_parameters()
    key = SecretKey(PublicKey(parameters, b"a public context"), b"a secret context")
    key.save(tmp_path / "secret.key")
    key.public.save(tmp_path / "public.key")
    named = {"FEDBUS_ENCRYPTION_KEY": str(tmp_path / "secret.key"), "FEDBUS_DATA": str(tmp_path)}
    with pytest.raises(SettingsError, match=r"FEDBUS_ENCRYPTION_KEY: .* this is a secret key"):
        build(settings_from(named, RepositorySettings), IDENTITY)
    named["FEDBUS_ENCRYPTION_KEY"] = str(tmp_path / "public.key")
    built = build(settings_from(named, RepositorySettings), IDENTITY)
    actions = [*built.core.handle(Connected(), 0.0)]
    built.close()
    assert AnnounceEncryptionKey(key.id) in actions


def test_the_store_can_be_killed_at_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault tests name them: `store:rename:2`."""
    monkeypatch.setenv("FEDBUS_FAULT_AT", "store:rename:99")
    built = build(RepositorySettings(data=tmp_path), IDENTITY)
    assert built.find_blob is not None
    store = built.find_blob.__self__  # type: ignore[attr-defined]  # a method of it
    push(store)
    built.close()
