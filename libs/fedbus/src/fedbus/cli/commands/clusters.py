"""`fedbus clusters`, `down` and `env`: clusters of this machine, their end, their logins."""

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from fedbus.cli.context import AsJson, broker_of, cluster_of
from fedbus.cli.exit_codes import Interrupted
from fedbus.cli.output import display
from fedbus.cli.stale_login import current_login
from fedbus.client.address import BrokerLogin, no_cluster_message
from fedbus.client.failures import Failed, Unreachable
from fedbus.cluster import registry
from fedbus.cluster.local import STOP_SECONDS
from fedbus.cluster.registry import RunningCluster
from fedbus.core import clock
from fedbus.errors import SettingsError
from fedbus.mqtt.bus import BrokerAddress
from fedbus.text import counted
from fedbus.wire.topics import ROOT

DOWN_SECONDS = STOP_SECONDS + 15.0
Home = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Home of the cluster; the same as --cluster."),
]


def chosen_home(ctx: typer.Context, home: Path | None) -> Path | None:
    """Return the home that `--cluster` or `--home` names.

    Raises:
        SettingsError: both are given and differ.
    """
    cluster, home = cluster_of(ctx), home.resolve() if home else None
    if cluster and home and cluster != home:
        raise SettingsError(f"--cluster {cluster} and --home {home}: give one of the two")
    return cluster or home


def clusters(as_json: AsJson = False) -> None:
    """List the clusters on this machine, the newest first.

    Commands use the newest one, unless --cluster or FEDBUS_BROKER names another.
    """
    found = registry.running()
    if as_json:
        display.print_json([_plain(one) for one in found])
        return
    display.print_table(
        ("CLUSTER", "BROKER", "AGENTS", "STARTED", "PROCESS"),
        ((one.home, one.address.where, one.agents, _when(one), one.pid) for one in found),
        nothing="no cluster runs on this machine; `fedbus up` starts one",
    )


def _when(one: RunningCluster) -> str:
    return datetime.fromtimestamp(one.started).astimezone().strftime("%Y-%m-%d %H:%M")


def _plain(one: RunningCluster) -> dict[str, object]:
    return {
        "cluster": one.home,
        "broker": one.address.where,
        "agents": one.agents,
        "started": datetime.fromtimestamp(one.started, UTC).isoformat(timespec="seconds"),
        "seconds": round(max(0.0, time.time() - one.started)),
        "process": one.pid,
        "processes": one.processes,
        "http": one.http,
    }


def down(ctx: typer.Context, home: Home = None) -> None:
    """End a cluster that `fedbus up` started, in any terminal.

    If several run, name one with --cluster DIR; on a terminal, the command asks.
    """
    named = chosen_home(ctx, home)
    running = registry.candidates(named)
    if not running:
        raise Unreachable(no_cluster_message(named))
    found = running[0] if len(running) == 1 else _ask_which(running)
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    if not asyncio.run(_wait_until_ended(Path(found.home))):
        raise Failed(f"process {found.pid} did not end within {DOWN_SECONDS:g} s")
    display.show(f"the cluster in {found.home} has ended")


def _ask_which(running: list[RunningCluster]) -> RunningCluster:
    lines = [
        f"{one.home}  ({counted(one.agents, 'agent')}, {one.address.where}, since {_when(one)})"
        for one in running
    ]
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        each = "\n".join(f"  fedbus down --cluster {quote(one.home)}" for one in running)
        raise SettingsError(f"{len(running)} clusters run here; name the one to end:\n{each}")
    display.show(f"{len(running)} clusters run here:")
    display.print_verbatim("\n".join(f"  {number}  {line}" for number, line in enumerate(lines, 1)))
    try:
        answer = input(f"Which one ends? 1 to {len(running)}, or nothing for none: ").strip()
    except EOFError:
        answer = ""
    if answer.isdigit() and 1 <= int(answer) <= len(running):
        return running[int(answer) - 1]
    raise Interrupted("no cluster was ended")


async def _wait_until_ended(home: Path) -> bool:
    until = clock.monotonic() + DOWN_SECONDS
    while registry.alive(home):
        if clock.monotonic() > until:
            return False
        await asyncio.sleep(0.1)
    return True


def env(
    ctx: typer.Context,
    mosquitto: Annotated[
        bool,
        typer.Option("--mosquitto", help="As options of mosquitto_sub, _pub and _rr."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the login of the cluster, for eval "$(fedbus env)".

    Other programs reach the cluster with it. With --mosquitto, print options for the command line
    of Mosquitto's clients: $(fedbus env --mosquitto). The output has the password.
    """
    here = current_login(os.environ, broker_of(ctx), named=cluster_of(ctx) is not None)
    if mosquitto:
        _print_options(mosquitto_options(here.broker), as_json=as_json)
    elif as_json:
        display.print_json(_login_json(here))
    else:
        more = {} if here.root == ROOT else {"FEDBUS_ROOT": here.root}
        for name, value in {"FEDBUS_BROKER": here.broker.url, **more}.items():
            display.print_verbatim(f"export {name}={quote(value)}")


def _login_json(here: BrokerLogin) -> dict[str, object]:
    at = here.broker
    return {
        "FEDBUS_BROKER": at.url,
        "FEDBUS_ROOT": here.root,
        "host": at.host,
        "port": at.port,
        "username": at.username,
        "password": at.password,
        "tls": at.tls,
        "ca_file": None if at.ca_file is None else str(at.ca_file),
    }


def mosquitto_options(address: BrokerAddress) -> list[str]:
    """Return the command-line options of Mosquitto's clients for a broker."""
    words = ["-V", "5", "-h", address.host, "-p", str(address.port)]
    if address.username is not None:
        words += ["-u", address.username]
    if address.password is not None:
        words += ["-P", address.password]
    if address.tls:
        known = address.ca_file
        words += ["--tls-use-os-certs"] if known is None else ["--cafile", str(known)]
    return words


def _print_options(words: list[str], *, as_json: bool) -> None:
    if as_json:
        display.print_json(words)
        return
    quoted = [quote(word) for word in words]
    if quoted != words:
        display.warn(
            "an option has characters that a shell interprets; instead of $(…), write: "
            'eval "mosquitto_sub $(fedbus env --mosquitto) -t …"'
        )
    display.print_verbatim(" ".join(quoted))
