"""A repository on SQLite with its HTTP API on a real server, and a client; without a broker."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import ClientSession, FormData

from fedbus.http_api.scopes import SCOPES, Scope
from fedbus.http_api.token_file import change_tokens
from fedbus.http_api.tokens import HttpToken, token_of
from fedbus.runtime.http import HttpAddress, start_http_server
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.settings import settings_from
from fedbus.runtime.shell import Shell
from fedbus_repository.app import RepositorySettings, build
from fedbus_repository.stores.sqlite.store import SqliteStore

ADMIN = token_of(b"a" * 32)


class RepositoryService:
    """A running repository, and a client of its API."""

    def __init__(self, data: Path, url: str, session: ClientSession, shell: Shell) -> None:
        self.data, self.url, self.session, self.shell = data, url, session, shell

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:  # noqa: ANN401 - aiohttp's
        """Send a request; return the status and the body, decoded if it is JSON."""
        status, body, _ = await self.ask_all(method, path, **more)
        return status, body

    async def ask_all(self, method: str, path: str, **more: Any) -> tuple[int, Any, Any]:  # noqa: ANN401 - aiohttp's
        """Send a request; return status, body and headers."""
        if isinstance(more.get("data"), bytes):
            more["data"] = BytesIO(more["data"])
        async with self.session.request(method, self.url + path, **more) as answer:
            body = await answer.read()
            plain = "json" in answer.content_type and bool(body)
            return answer.status, json.loads(body) if plain else body, answer.headers

    def files(self) -> list[str]:
        """Return the names of all files that are being received."""
        return [path.name for path in (self.data / "uploads").iterdir()]

    def blobs(self) -> list[str]:
        """Return the digests of all blobs that are on the disk."""
        return [path.name for path in (self.data / "blobs").glob("??/*")]


@asynccontextmanager
async def repository_service(
    folder: Path, tokens: dict[str, tuple[Scope, ...]] | None = None, store: str = ""
) -> AsyncIterator[RepositoryService]:
    """Serve a repository's API on a free port; the client has a token for everything.

    `store` is the URL of a database, by default the folder.
    """
    file = folder / "tokens"
    entries = [HttpToken.of("admin", SCOPES, ADMIN)]
    for name, scopes in (tokens or {}).items():
        entries.append(HttpToken.of(name, scopes, name * 20))
    await asyncio.to_thread(change_tokens, file, lambda _: tuple(entries))
    environ = {
        "FEDBUS_DATA": str(folder / "data"),
        "FEDBUS_HTTP": "127.0.0.1:0",
        "FEDBUS_HTTP_TOKENS_FILE": str(file),
        "FEDBUS_STORE": store,
    }
    identity = Identity(name="repository.1", incarnation=1)
    built = build(settings_from(environ, RepositorySettings), identity)
    shell = Shell(Node(identity, built.core, Random(1)), 2)
    assert built.http_api is not None
    runner = await start_http_server(shell, HttpAddress("127.0.0.1:0"), built.http_api(shell))
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with ClientSession(headers={"Authorization": f"Bearer {ADMIN}"}) as session:
            yield RepositoryService(folder / "data", url, session, shell)
    finally:
        await runner.cleanup()
        shell.close()
        await shell.wait_for_threads()
        built.close()


def store_in(folder: Path) -> SqliteStore:
    """Open the store of a service that has ended."""
    return SqliteStore(folder / "data")


def form_of(**files: bytes) -> FormData:
    """Return a form with files."""
    form = FormData(default_to_multipart=True)
    for name, content in files.items():
        form.add_field(name, BytesIO(content), filename=name)
    return form


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, 10 s at most."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - the end of a request of the service has no event here
            await asyncio.sleep(0.02)
