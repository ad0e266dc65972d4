"""Tokens of HTTP APIs: their file's text, and the search for the token that was sent. Pure.

The file has one line for each token: its name, its scopes with commas between, and the SHA-256 of
the token, never the token itself. A token is 256 random bits, so its digest needs no salt and no
slow function: there is nothing to guess.

    ci-pipeline models:read,models:write sha256:9f86d081884c7d65…
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fedbus.errors import SettingsError
from fedbus.http_api.scopes import SCOPES, Scope
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.text import nearest

MAX_TOKENS_FILE_BYTES: Final = 256 * 1024
MAX_HTTP_TOKENS: Final = 1000
MAX_TOKEN_CHARACTERS: Final = 512
"""A longer token is refused before it is hashed."""
TOKEN_BYTES: Final = 32
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class HttpToken:
    """A token of a file, without the token itself."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes

    @classmethod
    def of(cls, name: str, scopes: Iterable[Scope], token: str) -> "HttpToken":
        """Return the entry of a token."""
        return cls(name, frozenset(scopes), sha256_of(token))

    def line(self) -> str:
        """Format as a line of the file."""
        scopes = ",".join(scope for scope in SCOPES if scope in self.scopes)
        return f"{self.name} {scopes} sha256:{self.digest.hex()}"


def sha256_of(token: str) -> bytes:
    """Return the digest under which a token is stored."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


def token_of(random: bytes) -> str:
    """Format random bytes as a token; its prefix lets scanners for leaked secrets find it."""
    if len(random) != TOKEN_BYTES:
        raise ValueError(f"expected {TOKEN_BYTES} random bytes, got {len(random)}")
    return f"fedbus_{random.hex()}"


def find_token(tokens: Iterable[HttpToken], given: str) -> HttpToken | None:
    """Return the token that was sent, or None; all are compared, each in constant time."""
    if len(given) > MAX_TOKEN_CHARACTERS:
        return None
    digest, found = sha256_of(given), None
    for token in tokens:
        if hmac.compare_digest(digest, token.digest):
            found = token
    return found


def read_tokens(text: str) -> tuple[HttpToken, ...]:
    """Parse a tokens file; empty lines and lines that begin with # are skipped.

    Raises:
        SettingsError: A line is not valid, or two have one name or one token; the message names
            the line, and does not quote what may be a token.
    """
    found: dict[str, HttpToken] = {}
    digests: set[bytes] = set()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        token = _token_of_line(words, f"line {number}")
        if token.name in found:
            raise SettingsError(f"line {number}: a second token of the name {token.name}")
        if token.digest in digests:
            raise SettingsError(f"line {number}: this token is in the file already")
        found[token.name] = token
        digests.add(token.digest)
        if len(found) > MAX_HTTP_TOKENS:
            raise SettingsError(f"line {number}: more than {MAX_HTTP_TOKENS} tokens")
    return tuple(found.values())


def format_tokens(tokens: Iterable[HttpToken]) -> str:
    """Format the text of a tokens file."""
    head = "# NAME SCOPES sha256:DIGEST - `fedbus tokens` writes this file\n"
    return head + "".join(f"{token.line()}\n" for token in tokens)


def scope_of(text: str) -> Scope:
    """Return a scope; raise SettingsError with the nearest one if there is none of this name."""
    for scope in SCOPES:
        if scope == text:
            return scope
    near = nearest(text, SCOPES)
    meant = f"; did you mean {near}?" if near else f"; there are {', '.join(SCOPES)}"
    raise SettingsError(f"{text[:64]!r} is no scope{meant}")


def _token_of_line(words: list[str], where: str) -> HttpToken:
    if len(words) != 3:  # noqa: PLR2004 - the three words that the message names
        raise SettingsError(
            f"{where}: expected NAME SCOPES sha256:DIGEST, got {len(words)} words; "
            "`fedbus tokens new NAME SCOPE…` writes such a line"
        )
    name, scopes, digest = words
    if not re.fullmatch(IDENT, name):
        raise SettingsError(f"{where}: the name is not {IDENT_SAID}")
    found = _DIGEST.fullmatch(digest)
    if found is None:
        raise SettingsError(
            f"{where}: expected sha256: and the 64 hexadecimal digits of the token's digest; the "
            "token itself does not belong into this file"
        )
    try:
        allowed = frozenset(scope_of(scope) for scope in scopes.split(","))
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None
    return HttpToken(name, allowed, bytes.fromhex(found[1]))
