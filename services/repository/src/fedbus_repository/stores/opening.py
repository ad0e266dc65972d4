"""Choice of a store: a folder, or a MongoDB database, whose driver is imported only for it."""

from pathlib import Path
from typing import Final

from fedbus.errors import SettingsError
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.disk import OnStep
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.sqlite.store import SqliteStore

MAX_PASSWORD_BYTES: Final = 4096


def database_of(
    url: str, password_file: Path | None = None, ca_file: Path | None = None
) -> MongoSettings | None:
    """Return the settings of the database that FEDBUS_STORE names; None: it names none.

    Raises:
        SettingsError: They cannot be used. It never has the password.
    """
    if not url:
        for name, path in (("PASSWORD", password_file), ("CA", ca_file)):
            if path is not None:
                raise SettingsError(
                    f"FEDBUS_STORE_{name}_FILE is set, but FEDBUS_STORE names no database: set"
                    " FEDBUS_STORE=mongodb://HOST/DATABASE, or remove it"
                )
        return None
    password = None if password_file is None else _password_in(password_file)
    settings = MongoSettings(url, password=password, ca_file=ca_file)
    settings.check()
    return settings


def open_store(
    folder: Path,
    database: MongoSettings | None,
    *,
    keep: int = 10,
    on_step: OnStep = lambda _: None,
) -> Store:
    """Open the store in a database, or without one that in a folder.

    Args:
        folder: Folder of the store; with a database, of the blobs that are being received.
        database: The database; None: the records are in the folder as well.
        keep: Number of versions of a model that keep their weights.
        on_step: Called before each step on the disk or the database, for fault tests.

    Raises:
        SettingsError: The driver of the database is not installed, or refuses the settings.
        StoreError: The store cannot be opened.
    """
    if database is None:
        return SqliteStore(folder, keep=keep, on_step=on_step)
    try:
        from fedbus_repository.stores.mongo.blobs import GridFsBlobs  # noqa: PLC0415 - the driver
        from fedbus_repository.stores.mongo.mongo_store import MongoStore  # noqa: PLC0415 - as well
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"motor", "pymongo", "bson"}:
            raise
        raise SettingsError(
            "FEDBUS_STORE names a MongoDB database, and its driver is not installed: run"
            " `pip install 'fedbus-repository[mongo]'`"
        ) from error
    return MongoStore(
        database,
        lambda connection: GridFsBlobs(connection, folder, on_step=on_step),
        keep=keep,
        on_step=on_step,
    )


def _password_in(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PASSWORD_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"FEDBUS_STORE_PASSWORD_FILE: {path}: {error.strerror}") from error
    try:
        password = content.decode().strip("\r\n")
    except UnicodeDecodeError:
        password = ""
    if not password or len(content) > MAX_PASSWORD_BYTES or set(password) & set("\r\n\0"):
        raise SettingsError(
            f"FEDBUS_STORE_PASSWORD_FILE: {path}: expected one line of text with the password of"
            f" the database's user, at most {MAX_PASSWORD_BYTES} bytes"
        )
    return password
