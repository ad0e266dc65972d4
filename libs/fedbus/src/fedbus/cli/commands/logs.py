"""`fedbus logs`: log lines of a cluster on this machine."""

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

POLL_SECONDS = 0.3
MAX_TAIL_BYTES = 8 * 2**20


class Level(StrEnum):
    """The least severe level to print."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def logs(
    ctx: typer.Context,
    nodes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NODE…]", help="As agent.1; all by default."),
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Total number of lines.")] = 30,
    level: Annotated[Level, typer.Option(help="Least severe level.")] = Level.INFO,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as JSON.")] = False,
) -> None:
    """Print the log lines of a cluster on this machine, in the order of time.

    Of the newest cluster, or of --cluster DIR, which may have ended. For services on other
    machines, use journalctl or docker compose logs there.
    """
    folder = _home(ctx) / "logs"
    found = {path.name.removesuffix(".log"): path for path in sorted(folder.glob("*.log"))}
    if unknown := [node for node in nodes or () if node not in found]:
        raise Refused(f"{folder}: no log of {', '.join(unknown)}; there are {', '.join(found)}")
    tails = [_Tail(node, found[node]) for node in (nodes or found)]
    _print(log_lines.last_lines(_all(tails), lines, level), as_json=as_json)
    while follow:
        time.sleep(POLL_SECONDS)
        new = list(_all(tails))
        _print(log_lines.last_lines(new, len(new), level), as_json=as_json)


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
    """The last `MAX_TAIL_BYTES` of a log file, and what is appended."""

    def __init__(self, node: str, path: Path) -> None:
        self._node = node
        self._path = path
        self._at = max(0, path.stat().st_size - MAX_TAIL_BYTES)

    def read(self) -> Iterator[Line]:
        """Read the complete lines appended since the last call."""
        if self._path.stat().st_size < self._at:  # truncated and written again
            self._at = 0
        with self._path.open("rb") as file:
            file.seek(self._at)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + len(newline)
        text = whole.decode(errors="replace")
        return log_lines.parse_log(self._node, text.splitlines() if newline else ())


def _all(tails: list[_Tail]) -> Iterator[Line]:
    for tail in tails:
        yield from tail.read()


def _print(lines: list[Line], *, as_json: bool) -> None:
    if lines:
        display.print_verbatim("\n".join(line.text if as_json else line.format() for line in lines))
        sys.stdout.flush()  # for a pipe, with --follow
