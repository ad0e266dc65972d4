"""Log lines of several services, in the order of time. Performs no I/O."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LEVELS = ("debug", "info", "warning", "error")
_OWN = frozenset({"event", "level", "node", "timestamp"})


@dataclass(frozen=True, slots=True)
class Line:
    """A log line; one without a time, as in a traceback, has that of the line before."""

    at: str
    node: str
    level: str
    text: str
    """The line as the service wrote it."""
    event: str = ""
    facts: str = ""

    def format(self) -> str:
        """Format the line for a terminal."""
        if not self.event:
            return f"{self.node}  {self.text}"
        loud = f"{self.level.upper()}  " if _rank(self.level) >= _rank("warning") else ""
        return f"{self.at[11:23]}  {self.node}  {loud}{self.event}  {self.facts}".rstrip()


def parse_log(node: str, lines: Iterable[str]) -> Iterator[Line]:
    """Parse a service's log; text that is no JSON event belongs to the event before it."""
    at, level = "", "info"
    for text in lines:
        fields = _object(text)
        event = fields.get("event")
        if isinstance(event, str):
            at, level = str(fields.get("timestamp", at)), str(fields.get("level", "info"))
            facts = "  ".join(f"{k}={_fact(v)}" for k, v in fields.items() if k not in _OWN)
            yield Line(at, node, level, text, event, facts)
        else:
            yield Line(at, node, level, text)


def last_lines(lines: Iterable[Line], count: int, level: str) -> list[Line]:
    """Return the last `count` lines of at least a level, in the order of their times."""
    loud = [line for line in lines if _rank(line.level) >= _rank(level)]
    return sorted(loud, key=lambda line: line.at)[-count:] if count else []


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


def _object(text: str) -> dict[str, object]:
    try:
        fields = json.loads(text)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _fact(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
