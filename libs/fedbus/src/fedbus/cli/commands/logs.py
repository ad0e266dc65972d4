"""`fedbus logs`: what the services of a cluster of this machine say."""

import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedbus.cli.context import cluster_of
from fedbus.cli.output import display, log_lines
from fedbus.cli.output.log_lines import Line
from fedbus.client.address import no_cluster_message
from fedbus.client.failures import Refused, Unreachable
from fedbus.cluster import registry

LOOK_SECONDS = 0.3
MAX_TAIL_BYTES = 8 * 2**20
"""Bytes that are read of a log's end."""


class Level(StrEnum):
    """How serious a line must be."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def logs(
    ctx: typer.Context,
    nodes: Annotated[
        list[str] | None, typer.Argument(metavar="[NODE…]", help="As agent.1; all by default.")
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many, in all.")] = 30,
    level: Annotated[Level, typer.Option(help="The least serious.")] = Level.INFO,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="And those to come, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="As the services wrote them, for programs.")
    ] = False,
) -> None:
    """Show what the services of a cluster say.

    In the order of time. Of the newest cluster, or of --cluster DIR, which need not run any more.
    The logs of services elsewhere are where those run: journalctl, docker compose logs.
    """
    folder = _home(ctx) / "logs"
    found = {path.name.removesuffix(".log"): path for path in sorted(folder.glob("*.log"))}
    if unknown := [node for node in nodes or () if node not in found]:
        raise Refused(f"{folder}: no log of {', '.join(unknown)}; there are {', '.join(found)}")
    tails = [_Tail(node, found[node]) for node in (nodes or found)]
    _print(log_lines.last(_all(tails), lines, level), as_json=as_json)
    while follow:
        time.sleep(LOOK_SECONDS)
        new = list(_all(tails))
        _print(log_lines.last(new, len(new), level), as_json=as_json)


def _home(ctx: typer.Context) -> Path:
    named = cluster_of(ctx)
    if named is not None:
        home = named
    else:
        found = registry.find(tell=display.note)
        home = registry.default_home() if found is None else Path(found.home)
    if not (home / "logs").is_dir():
        raise Unreachable(no_cluster_message(named))
    return home


class _Tail:
    """A log, from a while before its end on."""

    def __init__(self, node: str, path: Path) -> None:
        self._node = node
        self._path = path
        self._at = max(0, path.stat().st_size - MAX_TAIL_BYTES)

    def read(self) -> Iterator[Line]:
        """Read whole lines that came since the last time."""
        if self._path.stat().st_size < self._at:  # written anew
            self._at = 0
        with self._path.open("rb") as file:
            file.seek(self._at)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + len(newline)
        text = whole.decode(errors="replace")
        return log_lines.read(self._node, text.splitlines() if newline else ())


def _all(tails: list[_Tail]) -> Iterator[Line]:
    for tail in tails:
        yield from tail.read()


def _print(lines: list[Line], *, as_json: bool) -> None:
    if lines:
        display.commands("\n".join(line.text if as_json else line.shown() for line in lines))
        sys.stdout.flush()  # into a pipe too, while we follow
