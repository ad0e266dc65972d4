"""Lines of services' logs as a person reads them, from all services in one order. Pure."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LEVELS = ("debug", "info", "warning", "error")
_OWN = frozenset({"event", "level", "node", "timestamp"})


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and the time it belongs to: its own, or that of the line before it."""

    at: str
    node: str
    level: str
    text: str
    """As the service wrote it."""
    event: str = ""
    facts: str = ""

    def shown(self) -> str:
        """Write it for a person."""
        if not self.event:
            return f"{self.node}  {self.text}"
        loud = f"{self.level.upper()}  " if _rank(self.level) >= _rank("warning") else ""
        return f"{self.at[11:23]}  {self.node}  {loud}{self.event}  {self.facts}".rstrip()


def read(node: str, lines: Iterable[str]) -> Iterator[Line]:
    """Read a service's log; what is no line of ours, as a traceback, belongs to the one before."""
    at, level = "", "info"
    for text in lines:
        said = _object(text)
        event = said.get("event")
        if isinstance(event, str):
            at, level = str(said.get("timestamp", at)), str(said.get("level", "info"))
            facts = "  ".join(f"{k}={_fact(v)}" for k, v in said.items() if k not in _OWN)
            yield Line(at, node, level, text, event, facts)
        else:
            yield Line(at, node, level, text)


def last(lines: Iterable[Line], count: int, level: str) -> list[Line]:
    """Keep the last lines of at least a level, in the order of their times."""
    loud = [line for line in lines if _rank(line.level) >= _rank(level)]
    return sorted(loud, key=lambda line: line.at)[-count:] if count else []


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


def _object(text: str) -> dict[str, object]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _fact(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
