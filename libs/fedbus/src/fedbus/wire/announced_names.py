"""Names of classes and inputs, as agents announce them. Pure.

A short list of names is announced in full; a long list as its first names, their number and a
digest of all. So the states of a fleet stay small, and two lists can still be compared exactly.

    {"x": {"data_types": {"numerical": {"size": [2], "columns": ["temp", "load"]}}},
     "y": {"data_types": {"categorical": {"size": [1], "classes": ["ok", "scrap"]}}}}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fedbus.digest import digest_of

MAX_NAMES: Final = 64
"""Names in a list that is announced in full."""
MAX_CHARACTERS: Final = 2048
"""Characters of all names in a list that is announced in full."""
MAX_NAME_CHARACTERS: Final = 128
"""Characters of one name of a class or a column."""
_FIRST: Final = 8
_CUT: Final = 64
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Names:
    """An ordered list of names, as announced.

    Attributes:
        first: All names, or the first ones of a long list.
    """

    digest: str
    count: int
    first: tuple[str, ...]

    def __str__(self) -> str:
        """Format the list for a person: `cross, disc, stripe`."""
        rest = self.count - len(self.first[:_SHOWN])
        more = f" and {rest} more" if rest else ""
        return ", ".join(self.first[:_SHOWN]) + more


def names_of(names: Sequence[str]) -> Names:
    """Compute the comparable form of a list of names."""
    text = json.dumps(list(names), ensure_ascii=False)
    return Names(digest_of(text.encode()), len(names), tuple(names))


def encode_names(names: Sequence[str]) -> list[str] | dict[str, Any]:
    """Encode a list of names: in full, or abbreviated with a digest."""
    if len(names) <= MAX_NAMES and sum(map(len, names)) <= MAX_CHARACTERS:
        return list(names)
    return abbreviate_names(names)


def abbreviate_names(names: Sequence[str]) -> dict[str, Any]:
    """Encode a list of names as its first names, its length and its digest; {}: no names."""
    if not names:
        return {}
    found = names_of(names)
    first = [name[:_CUT] for name in names[:_FIRST]]
    return {"count": found.count, "digest": found.digest, "first": first}


def decode_names(plain: object) -> Names | None:
    """Decode the result of `encode_names`; None: no names, or not valid."""
    match plain:
        case [*names] if names and all(isinstance(name, str) for name in names):
            return names_of([str(name) for name in names])
        case {"count": int(count), "digest": str(digest), "first": [*first]}:
            return Names(digest, count, tuple(map(str, first)))
        case _:
            return None


def classes_in(form: Mapping[str, Any]) -> Names | None:
    """Return the class names in an announced format; None: it announces none."""
    return _found(form.get("y"), "classes")


def columns_in(form: Mapping[str, Any]) -> Names | None:
    """Return the names of the inputs in an announced format; None: it announces none."""
    return _found(form.get("x"), "columns")


def _found(half: object, key: str) -> Names | None:
    match half:
        case {"data_types": dict(kinds)}:
            said = (
                decode_names(kind.get(key)) for kind in kinds.values() if isinstance(kind, dict)
            )
            return next((names for names in said if names is not None), None)
        case _:
            return None
