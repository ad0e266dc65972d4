"""Construction of a repository from its settings."""

import subprocess
import sys
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
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.mongo_store import MongoStore
from fedbus_repository.stores.opening import database_of, open_store
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
    assert built.stored is not None
    assert built.stored.opened_blob(blob_ref_of(FILE).digest) is None
    source = built.stored.open_blob(blob_ref_of(FILE).digest)
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
    assert isinstance(built.stored, SqliteStore)
    push(built.stored)
    built.close()


# ── a store in MongoDB ────────────────────────────────────────────────────────────────────────────


def test_a_repository_serves_what_its_database_holds(mongo_url: str, tmp_path: Path) -> None:
    """And leaves the database to the next one at its end."""
    environ = {"FEDBUS_STORE": mongo_url, "FEDBUS_DATA": str(tmp_path)}
    for _ in range(2):
        built = build(settings_from(environ, RepositorySettings), IDENTITY)
        store = built.stored
        assert isinstance(store, MongoStore)
        push(store)
        source = store.open_blob(blob_ref_of(FILE).digest)
        assert source is not None
        assert source.size == len(FILE)
        built.close()
    assert not (tmp_path / "repository.db").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected one line of text"),
        (b"geheim\nzwei", "expected one line of text"),
        (b"\xff\xfe", "expected one line of text"),
        (b"x" * 5000, "expected one line of text"),
        (None, "No such file"),
    ],
    ids=["empty", "two-lines", "no-text", "too-long", "missing"],
)
def test_a_password_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    """Its content is not."""
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=expected) as error:
        database_of("mongodb://ana@there/fedbus", path)
    assert str(path) in str(error.value)
    assert "geheim" not in str(error.value)


def test_a_password_is_read_from_its_file_alone(tmp_path: Path) -> None:
    """One in the URL, which process lists show, is refused and not repeated."""
    path = tmp_path / "password"
    path.write_bytes(b" geheim \r\n")
    database = database_of("mongodb://ana@there/fedbus", path)
    assert database is not None
    assert database.password == " geheim "
    assert "geheim" not in repr(database)
    for url in ("mongodb://ana:geheim@there/fedbus", "mongo://ana:geheim@there"):
        environ = {"FEDBUS_STORE": url, "FEDBUS_DATA": str(tmp_path)}
        with pytest.raises(SettingsError, match=r"^FEDBUS_STORE: ") as error:
            build(settings_from(environ, RepositorySettings), IDENTITY)
        assert "geheim" not in str(error.value)


@pytest.mark.parametrize("name", ["FEDBUS_STORE_PASSWORD_FILE", "FEDBUS_STORE_CA_FILE"])
def test_a_setting_of_a_database_that_is_not_named_is_refused(tmp_path: Path, name: str) -> None:
    """A misspelt FEDBUS_STORE must not store everything in a folder."""
    environ = {name: str(tmp_path / "file"), "FEDBUS_DATA": str(tmp_path)}
    with pytest.raises(SettingsError, match=f"{name} is set, but FEDBUS_STORE names no database"):
        build(settings_from(environ, RepositorySettings), IDENTITY)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is installed with an extra, because a repository on a folder does not need it."""
    for name in [*sys.modules]:
        if name.startswith(("fedbus_repository.stores.mongo.", "motor")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "motor", None)
    with pytest.raises(SettingsError, match=r"pip install 'fedbus-repository\[mongo\]'"):
        open_store(tmp_path, MongoSettings("mongodb://there"))


def test_a_repository_on_a_folder_does_not_load_the_driver(tmp_path: Path) -> None:
    """It needs memory that a small machine does not have."""
    program = (
        "import sys; from fedbus_repository.app import *\n"
        "from fedbus.runtime.identity import Identity\n"
        "from pathlib import Path\n"
        "build(RepositorySettings(data=Path(sys.argv[1])), Identity(name='repository.1',"
        " incarnation=1)).close()\n"
        "print({'motor', 'pymongo', 'bson', 'gridfs'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True, text=True
    )
    assert done.stdout == "set()\n"
