"""TLS and logins of the connection to MongoDB, through a proxy before the test server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedbus.errors import StoreError
from fedbus.wire.blobs import blob_ref_of
from fedbus_repository.stores.mongo.blobs import GridFsBlobs
from fedbus_repository.stores.mongo.connection import MongoConnection
from fedbus_repository.stores.mongo.driver_errors import (
    DatabaseCertificateError,
    DatabaseFullError,
    DatabaseLoginError,
    DatabaseRightsError,
    DatabaseUnreachableError,
)
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.mongo_store import MongoStore
from tests.repository.harness import FILE, push
from tests.repository.stores.certificates import TestAuthority, make_authority
from tests.repository.stores.mongo_proxy import MongoProxy, refusal
from tests.repository.stores.mongo_server import MongoServer

PASSWORD = "a secret, with @:/?% in it"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    """The CA that signed the server's certificate."""
    return make_authority(tmp_path_factory.mktemp("tls") / "right")


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    """Another CA."""
    return make_authority(tmp_path_factory.mktemp("tls") / "other")


@pytest.fixture
def name(mongo_url: str) -> str:
    """The name of an empty database."""
    return mongo_url.rpartition("/")[2]


@pytest.fixture
def proxy(mongo_server: MongoServer, authority: TestAuthority) -> Iterator[MongoProxy]:
    """A server with TLS, whose only user is fedbus."""
    context = authority.server("DNS:localhost", "IP:127.0.0.1")
    with MongoProxy(mongo_server.port, tls=context, users={"fedbus": PASSWORD}) as proxy:
        yield proxy


def settings_of(proxy: MongoProxy, name: str, **changes: Any) -> MongoSettings:  # noqa: ANN401
    """How to log in there; connecting fails within two seconds."""
    user = changes.pop("user", "fedbus@")
    host = changes.pop("host", "localhost")
    url = f"mongodb://{user}{host}:{proxy.port}/{name}?authSource=admin&authMechanism=SCRAM-SHA-256"
    found: dict[str, Any] = {"password": PASSWORD, "connect_seconds": 2.0} | changes
    return MongoSettings(url, **found)


def test_a_store_works_over_tls_with_a_login(
    proxy: MongoProxy, authority: TestAuthority, name: str, tmp_path: Path
) -> None:
    """A model is pushed and read again; no command has the password, and every write waits."""
    settings = settings_of(proxy, name, ca_file=authority.ca_file)
    for _ in range(2):
        store = MongoStore(settings, lambda connection: GridFsBlobs(connection, tmp_path))
        push(store)
        source = store.open_blob(blob_ref_of(FILE).digest)
        assert source is not None
        assert bytes(source.read(0, len(FILE))) == FILE
        store.close()
    assert set(proxy.logins) == {"fedbus"}
    starts = [each for each in proxy.commands if "saslStart" in each]
    assert starts[0]["mechanism"] == "SCRAM-SHA-256"
    assert starts[0]["$db"] == "admin"
    assert bytes(starts[0]["payload"]).startswith(b"n,,n=fedbus,r=")
    assert PASSWORD not in repr(proxy.commands)
    ours = [each for each in proxy.commands if each["$db"] == name]
    writing = {"insert", "update", "delete", "findAndModify", "createIndexes"}
    writes = [each for each in ours if next(iter(each)) in writing]
    reads = [each for each in ours if next(iter(each)) in {"find", "aggregate", "distinct"}]
    assert {next(iter(each)) for each in writes} >= {"insert", "update"}
    assert all(each["writeConcern"] == {"w": "majority", "j": True} for each in writes)
    assert reads
    assert all(each["readConcern"] == {"level": "majority"} for each in reads)
    assert all(each["maxTimeMS"] > 0 for each in ours if next(iter(each)) != "endSessions")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ca": "other"}, "must be the CA that signed"),
        ({"url": "tls=true"}, "FEDBUS_STORE_CA_FILE"),
    ],
)
def test_a_server_whose_certificate_is_not_the_cas_is_refused(
    proxy: MongoProxy,
    other_authority: TestAuthority,
    name: str,
    changes: dict[str, str],
    words: str,
) -> None:
    """Before the user's name is sent; the message says which file to correct."""
    ca_file = other_authority.ca_file if "ca" in changes else None
    settings = settings_of(proxy, name, ca_file=ca_file)
    if "url" in changes:
        settings = MongoSettings(
            f"{settings.url}&{changes['url']}", password=PASSWORD, connect_seconds=2.0
        )
    with pytest.raises(DatabaseCertificateError, match=r"TLS failed: .*certificate") as caught:
        MongoConnection(settings)
    assert words in str(caught.value)
    assert proxy.commands == []


def test_a_certificate_for_another_host_is_refused(
    mongo_server: MongoServer, authority: TestAuthority, name: str
) -> None:
    """Who has any certificate of the CA is not the database for that."""
    context = authority.server("DNS:db.example")
    with MongoProxy(mongo_server.port, tls=context) as proxy:
        settings = settings_of(proxy, name, ca_file=authority.ca_file)
        with pytest.raises(DatabaseCertificateError, match=r"localhost.*host name"):
            MongoConnection(settings)


def test_tls_on_one_side_alone_is_said(
    mongo_server: MongoServer, proxy: MongoProxy, authority: TestAuthority, name: str
) -> None:
    """A store with a CA file does not fall back to plain text, and a server with TLS neither."""
    with MongoProxy(mongo_server.port) as plain:
        settings = settings_of(plain, name, ca_file=authority.ca_file)
        with pytest.raises((DatabaseCertificateError, DatabaseUnreachableError), match="localhost"):
            MongoConnection(settings)
        assert plain.commands == []
    with pytest.raises(DatabaseUnreachableError, match="localhost"):
        MongoConnection(settings_of(proxy, name))


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"user": "stranger@"}])
def test_a_wrong_login_is_refused_without_the_password(
    proxy: MongoProxy, authority: TestAuthority, name: str, changes: dict[str, str]
) -> None:
    """The message names the user and the settings to compare."""
    settings = settings_of(proxy, name, ca_file=authority.ca_file, **changes)
    with pytest.raises(DatabaseLoginError) as caught:
        MongoConnection(settings)
    assert f"the login of user {settings.user!r}" in str(caught.value)
    shown = f"{caught.value!r} {caught.value.__cause__!r} {settings!r}"
    assert not any(word in shown for word in (PASSWORD, "wrong"))


def test_a_server_that_wants_a_login_is_told_apart(
    proxy: MongoProxy, authority: TestAuthority, name: str
) -> None:
    """A URL without a user connects, and is not allowed anything."""
    settings = settings_of(proxy, name, ca_file=authority.ca_file, user="", password=None)
    url = settings.url.partition("?")[0]
    settings = MongoSettings(url, ca_file=authority.ca_file, connect_seconds=2.0)
    with pytest.raises(DatabaseRightsError, match="a client without a user"):
        MongoConnection(settings)


@pytest.mark.parametrize(
    ("code", "code_name", "kind"),
    [
        (13, "Unauthorized", DatabaseRightsError),
        (18, "AuthenticationFailed", DatabaseLoginError),
        (14031, "OutOfDiskSpace", DatabaseFullError),
    ],
)
def test_rights_that_are_revoked_and_a_full_disk_leave_what_was_stored(  # noqa: PLR0917 - fixtures
    proxy: MongoProxy,
    authority: TestAuthority,
    name: str,
    tmp_path: Path,
    code: int,
    code_name: str,
    kind: type[StoreError],
) -> None:
    """Writes fail with the reason; the last model stays readable, and work resumes by itself."""
    connection = MongoConnection(settings_of(proxy, name, ca_file=authority.ca_file))
    blobs = GridFsBlobs(connection, tmp_path)
    first = keep(blobs, b"first")
    proxy.answer = lambda command: refusal(code, code_name) if "insert" in command else None
    with pytest.raises(kind) as caught:
        keep(blobs, b"second")
    assert str(caught.value).startswith("writing blob")
    assert PASSWORD not in str(caught.value)
    source = blobs.open(first)
    assert source is not None
    assert source.read(0, 9) == b"first"
    assert blobs.open(blob_ref_of(b"second").digest) is None
    proxy.answer = lambda _: None
    second = keep(blobs, b"second")
    assert all(blobs.holds(blob_ref_of(content)) for content in (b"first", b"second"))
    assert second == blob_ref_of(b"second").digest
    blobs.close()
    connection.close()


def keep(blobs: GridFsBlobs, content: bytes) -> str:
    """Store a blob."""
    upload = blobs.upload(blob_ref_of(content))
    upload.write(0, content)
    upload.keep()
    return upload.blob_ref.digest
