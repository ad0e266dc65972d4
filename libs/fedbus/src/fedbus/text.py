"""Lists, counts and similar names in sentences. Pure."""

import difflib
import re
from collections.abc import Iterable
from typing import Final

MAX_LISTED_NAMES: Final = 12
"""Names that a sentence lists; it counts the rest."""
_COMPARED_CHARACTERS: Final = 64
_FOLDERS: Final = re.compile(r"(?<![\w./~-])/(?:[\w.@+~-]+/)+")


def listed(names: Iterable[str]) -> str:
    """Join names for a sentence, sorted: `a, b, c`, at most `MAX_LISTED_NAMES` of them."""
    return in_given_order(sorted(names))


def in_given_order(names: Iterable[str]) -> str:
    """Join names for a sentence in their own order, at most `MAX_LISTED_NAMES` of them."""
    shown = list(names)
    more = len(shown) - MAX_LISTED_NAMES
    return ", ".join(shown[:MAX_LISTED_NAMES]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, what: str) -> str:
    """Format a number of things: `1 agent`, `2 agents`, `2 entries`."""
    if number == 1:
        return f"{number} {what}"
    by_y = what.endswith("y") and what[-2:-1] not in set("aeiou")
    return f"{number} {what[:-1]}ies" if by_y else f"{number} {what}s"


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return the choice with the most similar spelling; empty: none is similar."""
    near = difflib.get_close_matches(name[:_COMPARED_CHARACTERS].lower(), list(choices), n=1)
    return near[0] if near else ""


def without_folders(sentence: str) -> str:
    """Replace the folders of absolute paths: clients learn a file's name, not where it is."""
    return _FOLDERS.sub("…/", sentence)
