"""Connection to MongoDB: the only file that imports motor.

The repository's store is called in worker threads, and motor is asyncio: so the connection owns an
event loop in a thread, and `run` gives a worker thread a plain call that waits. ADR 38 says why it
is motor, and what its successor changes here.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import pymongo
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import uri_parser
from pymongo.errors import ConfigurationError, InvalidURI
from pymongo.monitoring import CommandListener

from fedbus.errors import StoreError, StoreUnreachableError
from fedbus_repository.stores.mongo.driver_errors import (
    DRIVER_ERRORS,
    DuplicateRecordError,
    settings_error,
    store_error,
)
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings

__all__ = ["DuplicateRecordError", "MongoConnection", "MongoDatabase"]

T = TypeVar("T")
Document: TypeAlias = dict[str, Any]
MongoDatabase: TypeAlias = AsyncIOMotorDatabase[Document]

GRACE_SECONDS = 2.0
"""Time beyond an operation's deadline in which the driver reports it; then `run` gives up."""


class MongoConnection:
    """A database that worker threads use through plain calls. Thread-safe.

    Every write waits for a majority of the servers and their journals, and every read sees only
    what a majority has, from the primary: what was acknowledged survives any one server.

    Args:
        settings: Address, login, TLS and timeouts.
        listeners: Observers of the commands that the driver sends, for tests.

    Raises:
        SettingsError: The settings cannot be used.
        StoreError: The database cannot be reached, or refuses the login.
    """

    def __init__(
        self, settings: MongoSettings, *, listeners: Sequence[CommandListener] = ()
    ) -> None:
        settings.check()
        self.settings = settings
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        try:
            self._client = self._connect(listeners)
        except BaseException:
            self._loop.close()
            raise
        self.database: MongoDatabase = self._client[settings.database_name]
        self._thread = threading.Thread(target=self._loop.run_forever, name="mongodb", daemon=True)
        self._thread.start()
        try:
            self.run(
                "connecting",
                lambda database: database.command("ping"),
                timeout=settings.connect_seconds,
            )
        except (KeyError, TypeError) as error:  # the driver reads fields that it relies on
            self.close()
            raise StoreError(
                f"connecting: the server at {settings.address} does not answer as MongoDB does:"
                f" {type(error).__name__} {error}; correct FEDBUS_STORE"
            ) from error
        except BaseException:
            self.close()
            raise

    def run(
        self,
        operation: str,
        call: Callable[[MongoDatabase], Awaitable[T]],
        *,
        timeout: float | None = None,
    ) -> T:
        """Await `call(database)` in the connection's event loop and return its result.

        The driver repeats an interrupted read until the deadline, and an interrupted write where
        the servers can tell that they have it (a replica set). Where they cannot, the error says
        that the write may have been stored: read before writing again.

        Args:
            operation: What is being done, the beginning of an error's message.
            call: Makes the awaitable; it runs in the event loop and must not block.
            timeout: The deadline in seconds; None: the settings' `operation_seconds`.

        Raises:
            DuplicateRecordError: A document with the same unique key exists.
            StoreError: One of the kinds in `driver_errors`.
        """
        seconds = self.settings.operation_seconds if timeout is None else timeout
        with self._lock:
            if self._closed:
                raise StoreUnreachableError(f"{operation}: the store is closed")
            future = asyncio.run_coroutine_threadsafe(self._bounded(call, seconds), self._loop)
        try:
            return future.result()
        except DRIVER_ERRORS as error:
            raise store_error(operation, error, self.settings, seconds) from error
        except CancelledError:
            raise StoreUnreachableError(f"{operation}: the store was closed meanwhile") from None
        finally:
            future.cancel()  # after Ctrl-C no caller waits for the result

    def close(self) -> None:
        """Close all connections and end the thread; calls that wait raise StoreError."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._cancel_calls(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._client.close()
        self._loop.close()

    def _connect(self, listeners: Sequence[CommandListener]) -> "AsyncIOMotorClient[Document]":
        settings = self.settings
        options: dict[str, Any] = {}
        if settings.password is not None:
            options["password"] = settings.password
        if settings.ca_file is not None:
            options |= {"tls": True, "tlsCAFile": str(settings.ca_file)}
        try:
            # The driver itself only warns of options that it does not know.
            if options_in_url := urlsplit(settings.url).query:
                uri_parser.split_options(options_in_url, warn=False)
            return AsyncIOMotorClient(
                settings.url,
                io_loop=self._loop,
                appname="fedbus-repository",
                event_listeners=list(listeners),
                serverSelectionTimeoutMS=_milliseconds(settings.connect_seconds),
                connectTimeoutMS=_milliseconds(settings.connect_seconds),
                socketTimeoutMS=_milliseconds(settings.operation_seconds),
                w="majority",
                journal=True,
                readConcernLevel="majority",
                readPreference="primary",
                retryWrites=True,
                retryReads=True,
                **options,
            )
        except (ConfigurationError, InvalidURI, ValueError) as error:
            raise settings_error(error) from error

    async def _bounded(self, call: Callable[[MongoDatabase], Awaitable[T]], seconds: float) -> T:
        # The driver reads its deadline from the context, which motor hands to its threads.
        with pymongo.timeout(seconds):
            async with asyncio.timeout(seconds + GRACE_SECONDS):
                return await call(self.database)

    async def _cancel_calls(self) -> None:
        calls = asyncio.all_tasks() - {asyncio.current_task()}
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
