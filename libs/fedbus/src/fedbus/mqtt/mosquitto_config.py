"""Configuration files of Mosquitto: settings, accounts and access rules. Pure.

One text serves the broker `fedbus up` starts and the one a person deploys:
`mosquitto/mosquitto.conf` is `BrokerConfig().text()`, and a test says so.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from fedbus.errors import SettingsError
from fedbus.wire.access_rules import access_rules

Rules = Callable[[str], Iterable[tuple[str, str]]]
"""What a user may do: ("read" or "write", topic filter) pairs."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

ITERATIONS = 101
"""Mosquitto's own number. It has one thread: a fleet that reconnects pays for every iteration, and
the passwords we make are 192 random bits, which no number of guesses finds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """What differs between one broker and the next; the defaults are a container's places."""

    host: str = ""  # empty: every interface
    port: int = 1883
    passwords: str = "/mosquitto/config/passwords"
    acl: str = "/mosquitto/config/acl"
    data: str = "/mosquitto/data"
    user: str = ""  # empty: Mosquitto's choice, the user `mosquitto` when it is started by root
    open_profile: bool = False
    sys_interval: int = 10
    extra: tuple[str, ...] = ()

    def text(self) -> str:
        """Write mosquitto.conf.

        Raises:
            SettingsError: the open profile anywhere but on loopback.
        """
        if self.open_profile and self.host not in _LOOPBACK:
            raise SettingsError(
                f"an open broker listens on loopback only, not on {self.host or 'every interface'}"
            )
        parts = [_HEAD]
        parts += [_OPEN] if self.open_profile else [_CLOSED]
        parts += [_LIMITS, _LISTENER]
        parts += [] if self.open_profile else [_PINNED]
        own = [f"user {self.user}\n"] * bool(self.user) + [f"{line}\n" for line in self.extra]
        return "".join(parts).format(
            passwords=self.passwords,
            acl=self.acl,
            data=self.data,
            listener=f"listener {self.port} {self.host}".rstrip(),
            sys_interval=self.sys_interval,
        ) + "".join(own)


_HEAD = """\
# Mosquitto for fedbus. Safe on Debian's 2.0.11 too; 2.0.22 or newer is better.
# Written by fedbus.mqtt.mosquitto_config; see README.md beside this file for accounts and TLS.
"""

_OPEN = """
# Any user of this machine may do anything: for trying things out.
allow_anonymous true
"""

_CLOSED = """
# Who may come in, and what each may read and write.
allow_anonymous false
password_file {passwords}
acl_file {acl}
"""

_LISTENER = """
{listener}
"""

_PINNED = """\
# One account, one connection: no client takes over another's by its id. This belongs to a
# listener; above the first, it would open one more, on port 1883.
use_username_as_clientid true
"""

_LIMITS = """
set_tcp_nodelay true

# A chunk is 256 KiB. Announced to clients, who then refuse to send more.
max_packet_size 1048576
# What a slow subscriber may have waiting, at any quality of service; the rest is dropped. It bounds
# the broker's memory (max_queued_messages 0 with a byte limit does not).
max_queued_messages 100
max_inflight_messages 20
# A dead client is noticed within 1.5 times this, seconds.
max_keepalive 60

# Retained messages survive a restart, up to the last save. They are a cache for people: what must
# not be lost is in fedbus's own store.
persistence true
persistence_location {data}/
autosave_interval 10

sys_interval {sys_interval}
log_dest stdout
log_type error
log_type warning
log_type notice
"""


def new_password() -> str:
    """Make a password that needs no encoding in an address."""
    return secrets.token_urlsafe(24)


def password_line(username: str, password: str, salt: bytes | None = None) -> str:
    """Write a line of the password file, as mosquitto_passwd does: `$7$`, PBKDF2 over SHA-512.

    Raises:
        SettingsError: the name cannot stand there.
    """
    salt = secrets.token_bytes(12) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"{_checked(username)}:$7${ITERATIONS}${'$'.join(encoded)}\n"


def password_file(accounts: Mapping[str, str]) -> str:
    """Write a password file for these names and passwords."""
    return "".join(password_line(name, password) for name, password in accounts.items())


def names_in(passwords: str) -> list[str]:
    """List the accounts of a password file, ours or mosquitto_passwd's, in its order."""
    return [line.partition(":")[0] for line in passwords.splitlines() if ":" in line]


def acl_file(users: Iterable[str], rules: Rules = access_rules) -> str:
    """Write what each user may read and write; all else is denied.

    Raises:
        SettingsError: a name or rule cannot stand there.
    """
    return "\n".join(_acl_of(user, rules(user)) for user in users)


def _acl_of(user: str, rules: Iterable[tuple[str, str]]) -> str:
    lines = [f"user {_checked(user)}\n"]
    for access, topic in rules:
        if access not in ("read", "write") or not topic or set(topic) & set("\r\n\0"):
            raise SettingsError(f"access rule of {user}: {access!r} {topic!r} is none")
        lines.append(f"topic {access} {topic}\n")
    return "".join(lines)


def _checked(username: str) -> str:
    if _NAME.fullmatch(username) is None:
        raise SettingsError(
            f"user name {username!r}: letters, digits, and . _ - after the first, at most 128"
        )
    return username
