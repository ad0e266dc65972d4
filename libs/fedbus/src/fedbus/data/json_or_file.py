"""JSON of a setting or an option: the text itself, or the path of a file."""

from pathlib import Path
from typing import Final

from fedbus.errors import TrainingError, WireError
from fedbus.wire.json_reader import read_json

_OPENING: Final = ("[", "{")
_LONGEST_PATH: Final = 4096
_SHOWN: Final = 60


def read_json_or_file(given: str | Path) -> object:
    """Read JSON from a text that starts with [ or {, or a file; raise TrainingError if not JSON."""
    text = str(given).strip()
    if isinstance(given, str) and text.startswith(_OPENING):
        return _parsed(f"{text[:_SHOWN]}{' …' if len(text) > _SHOWN else ''}", text)
    if not text or len(text) > _LONGEST_PATH or "\0" in text:
        raise TrainingError(f"{text[:_SHOWN]!r} is neither JSON, [ … ] or {{ … }}, nor a file")
    try:
        content = Path(text).read_bytes()
    except OSError as error:
        hint = "" if isinstance(given, Path) else " (JSON begins with [ or {)"
        raise TrainingError(f"{text}: {error.strerror}{hint}") from error
    return _parsed(text, content)


def _parsed(name: str, content: str | bytes) -> object:
    try:
        return read_json(content.encode() if isinstance(content, str) else content)
    except WireError as error:
        raise TrainingError(f"{name}: {error}") from error


def error_prefix(given: str | Path) -> str:
    """Return `FILE: ` for errors about a JSON file; "" for a text."""
    in_place = isinstance(given, str) and given.strip().startswith(_OPENING)
    return "" if in_place else f"{given}: "
