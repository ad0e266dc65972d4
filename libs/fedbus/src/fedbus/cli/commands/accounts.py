"""`fedbus accounts`: passwords and access rules of the Mosquitto broker of a fleet."""

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
"""User to which Mosquitto switches when root starts it."""


def accounts(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The broker's folder.")],
    nodes: Annotated[
        list[str],
        typer.Argument(metavar="NODE…", help="As agent.pi-7, collector.1, user.me."),
    ],
    remove: Annotated[bool, typer.Option("--remove", help="Remove these accounts.")] = False,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address of a new broker; all by default.")
    ] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of a new broker.")] = 1883,
) -> None:
    """Create accounts and access rules for a fleet's Mosquitto broker.

    Writes to DIR: mosquitto.conf (if missing), passwords, acl, and logins/NODE with the password
    of each new account; copy that file to the node and name it in FEDBUS_PASSWORD_FILE. Existing
    accounts keep their passwords. The rules of all accounts are generated from this version's
    topic table. Files are replaced atomically; a running broker reads them at SIGHUP.
    """
    for node in nodes:
        if not is_node(node):
            raise SettingsError(
                f"{node!r}: expected an account ROLE.NAME, with the role one of "
                f"{', '.join(ROLES)}, and the name {IDENT_SAID}"
            )
    try:
        display.print_verbatim("\n".join(update(folder.absolute(), nodes, remove, host, port)))
    except OSError as error:
        raise Failed(f"{error.filename or folder}: {error.strerror or error}") from error


def update(folder: Path, nodes: Iterable[str], remove: bool, host: str, port: int) -> list[str]:
    """Write the files; return the lines that report it.

    Raises:
        OSError: a file cannot be read or written.
        SettingsError: an account to remove does not exist.
    """
    for each in (folder, folder / "data", folder / "logins"):
        each.mkdir(parents=True, exist_ok=True, mode=0o700)
    passwords = folder / "passwords"
    before = passwords.read_text(encoding="utf-8") if passwords.exists() else ""
    known, wanted = names_in(before), list(dict.fromkeys(nodes))
    _reject_foreign_rules(folder / "acl", known)
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
    is_new = not conf.exists()
    if is_new:
        _write(conf, _config(folder, host, port).text())
    _set_owner(folder)
    return list(_report(folder, names_in(after), new, is_new=is_new))


def _write(path: Path, text: str) -> None:
    # Durable: these passwords exist in no other place.
    atomic_write(path, text.encode(), mode=PRIVATE, durable=True)


def _reject_foreign_rules(acl: Path, known: list[str]) -> None:
    """Reject an acl file with a user's own rules, which generated ones would replace.

    Raises:
        SettingsError: it has rules for all users, or for an account that is not a node.
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
                "remove: move it to a file of your own (mosquitto/README.md)"
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


def _set_owner(folder: Path) -> None:
    """Change the owner of all but `logins` to the broker's user, if this process is root."""
    user = _broker_user()
    if os.geteuid() == 0 and user:
        for name in (".", "data", "passwords", "acl"):
            shutil.chown(folder / name, user)


def _report(folder: Path, all_: list[str], new: Iterable[str], *, is_new: bool) -> Iterable[str]:
    yield f"accounts: {', '.join(all_) or 'none'}"
    for node in new:
        yield f"the password of {node}: {folder / 'logins' / node}"
    if is_new:
        yield f"start the broker:\n  mosquitto -c {quote(str(folder / 'mosquitto.conf'))}"
    else:
        yield "a running broker reads them at SIGHUP:\n  kill -HUP $(pidof mosquitto)"
