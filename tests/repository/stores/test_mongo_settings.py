"""Tests of the settings of the connection to MongoDB."""

from pathlib import Path

import pytest

from fedbus.errors import SettingsError
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings


@pytest.mark.parametrize(
    ("url", "user", "address", "database", "tls"),
    [
        ("mongodb://db", None, "db", "fedbus", False),
        ("mongodb://db:27018/models", None, "db:27018", "models", False),
        ("mongodb://fed%40bus@a,b:1/m?tls=true", "fed@bus", "a,b:1", "m", True),
        ("mongodb://db/?ssl=true&authSource=admin", None, "db", "fedbus", True),
        ("mongodb+srv://u@cluster.example/m", "u", "cluster.example", "m", True),
        ("mongodb+srv://cluster.example/?tls=false", None, "cluster.example", "fedbus", False),
    ],
)
def test_a_url_says_user_hosts_database_and_tls(
    url: str, user: str | None, address: str, database: str, tls: bool
) -> None:
    """What messages and the connection need is read from the URL."""
    settings = MongoSettings(url)
    settings.check()
    assert (settings.user, settings.address) == (user, address)
    assert (settings.database_name, settings.tls) == (database, tls)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://db", "begins with mongodb://"),
        ("mongodb://[::1", "not a URL"),
        ("mongodb:///m", "no host"),
        ("mongodb://u:s3cret@db/m", "FEDBUS_STORE_PASSWORD_FILE"),
        ("mongodb://u@x@db/m", "%40"),
        ("mongodb://db/?w=1", "a majority"),
        ("mongodb://db/?Journal=false", "the journal"),
        ("mongodb://db/?readPreference=secondary", "the primary"),
        ("mongodb://db/?tlsInsecure=true", "always verified"),
        ("mongodb://db/?tlsAllowInvalidHostnames=true", "always verified"),
        ("mongodb://db/a%20b", "no space"),
        ("mongodb://db/" + "x" * 64, "63 bytes"),
    ],
)
def test_a_url_that_the_store_does_not_use_is_refused_without_its_password(
    url: str, words: str
) -> None:
    """The error says what to change; a password in the URL is not repeated."""
    with pytest.raises(SettingsError) as caught:
        MongoSettings(url).check()
    assert words in str(caught.value)
    assert "FEDBUS_STORE" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_password_without_a_user_and_a_missing_ca_file_are_refused(tmp_path: Path) -> None:
    """Each setting that would have no effect says so before anything is sent."""
    with pytest.raises(SettingsError, match="names no user"):
        MongoSettings("mongodb://db", password="s3cret").check()
    missing = tmp_path / "ca.pem"
    with pytest.raises(SettingsError, match=r"no file .*ca\.pem"):
        MongoSettings("mongodb://db", ca_file=missing).check()
    missing.touch()
    MongoSettings("mongodb://db", ca_file=missing).check()
    assert MongoSettings("mongodb://db", ca_file=missing).tls
    with pytest.raises(SettingsError, match="tls=false"):
        MongoSettings("mongodb://db/?tls=false", ca_file=missing).check()


def test_a_password_is_not_in_the_representation() -> None:
    """Settings may be printed."""
    assert "s3cret" not in repr(MongoSettings("mongodb://u@db", password="s3cret"))
