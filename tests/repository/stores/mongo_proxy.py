"""A proxy before the MongoDB test server, with the TLS, logins and refusals that it lacks.

It reads MongoDB's wire protocol (OP_MSG): answers commands in place of the server when a test says
so, demands a login by SCRAM-SHA-256 (RFC 5802, RFC 7677), and remembers the commands that it saw.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any, Self, TypeAlias

import bson

OP_MSG = 2013
ITERATIONS = 4096
BEFORE_LOGIN = {"hello", "isMaster", "ismaster", "saslStart", "saslContinue"}

Document: TypeAlias = dict[str, Any]
Answer: TypeAlias = Callable[[Document], Document | None]
"""Returns a reply in place of the server's; None: the server replies."""


def refusal(code: int, name: str) -> Document:
    """Return a reply that refuses a command, as MongoDB formats it."""
    return {"ok": 0.0, "code": code, "codeName": name, "errmsg": f"refused: {name}"}


class MongoProxy:
    """Accepts connections on a port of its own and passes them on; a context manager.

    Attributes:
        answer: Answers commands in place of the server; may be changed while connections are open.
        commands: Every command that arrived, with its fields.
        logins: The user of each login that succeeded.
    """

    def __init__(
        self,
        server_port: int,
        *,
        tls: ssl.SSLContext | None = None,
        users: dict[str, str] | None = None,
    ) -> None:
        self.answer: Answer = lambda _: None
        self.commands: list[Document] = []
        self.logins: list[str] = []
        self.port = 0
        self._server_port, self._tls, self.users = server_port, tls, users
        self._connections: set[asyncio.Task[None] | None] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        seconds = None if self._tls is None else 2.0
        start = asyncio.start_server(
            self._connected, "127.0.0.1", 0, ssl=self._tls, ssl_handshake_timeout=seconds
        )
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for task in tuple(self._connections):
            if task is not None:
                task.cancel()
        # A connection in the middle of its TLS handshake must end that, or its socket stays open.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait([asyncio.create_task(asyncio.sleep(0.05)), *others], timeout=5)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        login = _Login(self.users or {})
        self._connections.add(asyncio.current_task())
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            self._connections.discard(asyncio.current_task())
            return
        back = asyncio.create_task(_copy(far_reader, writer))
        try:
            while message := await _message(reader):
                reply = self._reply(message, login)
                (far_writer if reply is None else writer).write(message if reply is None else reply)
                await (far_writer if reply is None else writer).drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the proxy or one of the two ends
        finally:
            back.cancel()
            self._connections.discard(asyncio.current_task())
            writer.transport.abort()  # TLS would wait for the other end
            far_writer.transport.abort()

    def _reply(self, message: bytes, login: "_Login") -> bytes | None:
        _, request, _, opcode = struct.unpack_from("<iiii", message)
        if opcode != OP_MSG or message[20] != 0:
            return None
        command: Document = bson.decode(message[21 : 21 + int.from_bytes(message[21:25], "little")])
        self.commands.append(command)
        name = next(iter(command))
        answer = self.answer(command)
        if answer is None and self.users is not None:
            if name in {"saslStart", "saslContinue"}:
                answer = login.step(command)
                if answer.get("done"):
                    self.logins.append(login.user)
            elif name not in BEFORE_LOGIN and not login.succeeded:
                answer = refusal(13, "Unauthorized")
        if answer is None:
            return None
        body = struct.pack("<iB", 0, 0) + bson.encode(answer)
        return struct.pack("<iiii", 16 + len(body), 1, request, OP_MSG) + body


class _Login:
    """The server's side of one SCRAM-SHA-256 login."""

    def __init__(self, users: dict[str, str]) -> None:
        self._users = users
        self.user, self.succeeded = "", False
        self._signed, self._nonce, self._salt = "", "", secrets.token_bytes(16)

    def step(self, command: Document) -> Document:
        """Answer a message of the client."""
        said = bytes(command["payload"]).decode()
        if "saslStart" in command:
            bare = said.removeprefix("n,,")
            fields = dict(part.split("=", 1) for part in bare.split(","))
            self.user, self._nonce = fields["n"], fields["r"] + secrets.token_hex(8)
            salt = base64.b64encode(self._salt).decode()
            first = f"r={self._nonce},s={salt},i={ITERATIONS}"
            self._signed = f"{bare},{first}"
            return self._say(first, done=False)
        without_proof, _, proof = said.rpartition(",p=")
        password = self._users.get(self.user, secrets.token_hex(8))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), self._salt, ITERATIONS)
        signed = f"{self._signed},{without_proof}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        expected = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        if not hmac.compare_digest(expected, base64.b64decode(proof)):
            return refusal(18, "AuthenticationFailed")
        self.succeeded = True
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        verifier = base64.b64encode(hmac.digest(server_key, signed, "sha256")).decode()
        return self._say(f"v={verifier}", done=True)

    @staticmethod
    def _say(payload: str, *, done: bool) -> Document:
        return {"conversationId": 1, "done": done, "payload": payload.encode(), "ok": 1.0}


async def _message(reader: asyncio.StreamReader) -> bytes:
    try:
        header = await reader.readexactly(16)
    except asyncio.IncompleteReadError:
        return b""
    return header + await reader.readexactly(int.from_bytes(header[:4], "little") - 16)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()
