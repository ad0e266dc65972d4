"""`fedbus accounts`: what a Mosquitto for a fleet reads, and a password for each of its nodes."""

import os
import pwd
import shutil
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from fedbus.atomic_write import PRIVATE, atomic_write
from fedbus.cli.output import display
from fedbus.client.failures import Failed
from fedbus.errors import SettingsError
from fedbus.mqtt.mosquitto_config import (
    BrokerConfig,
    acl_file,
    names_in,
    new_password,
    password_file,
)
from fedbus.scalars import IDENT_SAID
from fedbus.wire.identifiers import ROLES, is_node

BROKER_USER = "mosquitto"
"""Whom Mosquitto becomes when root starts it."""


def accounts(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The broker's; made if missing.")],
    nodes: Annotated[
        list[str], typer.Argument(metavar="NODE…", help="As agent.pi-7, collector.1, user.me.")
    ],
    remove: Annotated[bool, typer.Option("--remove", help="Take these accounts away.")] = False,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Where a new broker listens; everywhere by default.")
    ] = "",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Of a new broker's configuration.")
    ] = 1883,
) -> None:
    """Make accounts and rules for a fleet's broker.

    For a Mosquitto, each account with a password of its own. DIR gets mosquitto.conf (once),
    passwords, acl, and logins/NODE with the password of a new account, which goes to that node as
    its FEDBUS_PASSWORD_FILE. Accounts that are there keep theirs. Rules are written anew for all,
    from this version's table of topics. Both files are replaced in one step; a broker that runs
    reads them at SIGHUP.
    """
    for node in nodes:
        if not is_node(node):
            raise SettingsError(
                f"{node!r}: no name for an account; it is ROLE.NAME, the role one of "
                f"{', '.join(ROLES)}, the name {IDENT_SAID}"
            )
    try:
        display.commands("\n".join(change(folder.absolute(), nodes, remove, host, port)))
    except OSError as error:
        raise Failed(f"{error.filename or folder}: {error.strerror or error}") from error


def change(folder: Path, nodes: Iterable[str], remove: bool, host: str, port: int) -> list[str]:
    """Write the files; returns what to say.

    Raises:
        OSError: a file cannot be read or written.
        SettingsError: an account that is to go is not there.
    """
    for each in (folder, folder / "data", folder / "logins"):
        each.mkdir(parents=True, exist_ok=True, mode=0o700)
    passwords = folder / "passwords"
    before = passwords.read_text(encoding="utf-8") if passwords.exists() else ""
    known, wanted = names_in(before), list(dict.fromkeys(nodes))
    _refuse_others(folder / "acl", known)
    if remove and (missing := [node for node in wanted if node not in known]):
        raise SettingsError(f"{passwords}: no account {', '.join(missing)}")
    new = {} if remove else {node: new_password() for node in wanted if node not in known}
    lines = before.splitlines(keepends=True)
    kept = [line for line in lines if not remove or line.partition(":")[0] not in wanted]
    after = "".join(kept) + password_file(new)
    _write(passwords, after)
    _write(folder / "acl", acl_file(names_in(after)))
    for node, password in new.items():
        _write(folder / "logins" / node, password)
    for node in wanted if remove else ():
        (folder / "logins" / node).unlink(missing_ok=True)
    conf = folder / "mosquitto.conf"
    made = not conf.exists()
    if made:
        _write(conf, _config(folder, host, port).text())
    _give_to_broker(folder)
    return list(_said(folder, names_in(after), new, made=made))


def _write(path: Path, text: str) -> None:
    """Replace a file that nobody could make again: its passwords exist here only."""
    atomic_write(path, text.encode(), mode=PRIVATE, durable=True)


def _refuse_others(acl: Path, known: list[str]) -> None:
    """Keep rules that a person wrote: the file is written anew, from the names of accounts alone.

    Raises:
        SettingsError: it has rules for everybody, or of an account that is no node's.
    """
    user = ""
    lines = acl.read_text(encoding="utf-8").splitlines() if acl.exists() else []
    for number, line in enumerate(lines, 1):
        kind, _, rest = line.partition(" ")
        user = rest if kind == "user" else user
        if kind in ("user", "topic", "pattern") and (
            kind == "pattern" or not is_node(user) or user not in known
        ):
            raise SettingsError(
                f"{acl}: line {number} is a rule that `fedbus accounts` did not write and would "
                "lose: keep such accounts in files of your own (mosquitto/README.md)"
            )


def _config(folder: Path, host: str, port: int) -> BrokerConfig:
    reaches = all(one.stat().st_mode & 0o001 for one in folder.parents)
    root = os.geteuid() == 0 and not (reaches and _broker_user())
    return BrokerConfig(
        host=host,
        port=port,
        passwords=str(folder / "passwords"),
        acl=str(folder / "acl"),
        data=str(folder / "data"),
        user=pwd.getpwuid(0).pw_name if root else "",
    )


def _broker_user() -> str:
    try:
        return pwd.getpwnam(BROKER_USER).pw_name
    except KeyError:
        return ""


def _give_to_broker(folder: Path) -> None:
    """Let the broker's user read what is its own, where we may give files away; not `logins`."""
    user = _broker_user()
    if os.geteuid() == 0 and user:
        for name in (".", "data", "passwords", "acl"):
            shutil.chown(folder / name, user)


def _said(folder: Path, all_: list[str], new: Iterable[str], *, made: bool) -> Iterable[str]:
    yield f"accounts: {', '.join(all_) or 'none'}"
    for node in new:
        yield f"the password of {node}: {folder / 'logins' / node}"
    if made:
        yield f"start the broker:\n  mosquitto -c {quote(str(folder / 'mosquitto.conf'))}"
    else:
        yield "a broker that runs reads them at SIGHUP:\n  kill -HUP $(pidof mosquitto)"
