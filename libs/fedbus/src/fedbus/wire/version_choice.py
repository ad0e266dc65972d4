"""A version of a model in one word: `digits@3`, `digits@production`, `digits` (the latest). Pure.

One notation for commands, the Python API and topics. What follows the `@` is a version's number, or
an alias or a tag: neither of these is a number or `latest`, and no alias is also a tag.
"""

import re
from dataclasses import dataclass

from fedbus.errors import WireError
from fedbus.scalars import IDENT, IDENT_SAID

LATEST = "latest"
MAX_VERSION_DIGITS = 15
"""Digits of a version's number, which is below 2^53."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionChoice:
    """A model and one of its versions: by number, by the name of an alias or tag, or the latest."""

    model: str
    version: int | None = None
    name: str | None = None

    def __str__(self) -> str:
        """Format in one word."""
        which = self.name if self.version is None else str(self.version)
        return self.model if which is None else f"{self.model}@{which}"


def parse_version_choice(word: str) -> VersionChoice:
    """Parse `MODEL`, `MODEL@NUMBER`, `MODEL@ALIAS` or `MODEL@TAG`.

    Raises:
        WireError: it is none of these; the message says which part is wrong.
    """
    model, at, which = word.partition("@")
    if re.fullmatch(IDENT, model) is None:
        raise WireError(f"{model[:80]!a} is no model's name: {IDENT_SAID}")
    if which == LATEST or not at:
        return VersionChoice(model=model)
    if which.isascii() and which.isdigit():
        if len(which) > MAX_VERSION_DIGITS or which.startswith("0"):
            raise WireError(f"{which[:80]!r} is no version of a model: they count from 1")
        return VersionChoice(model=model, version=int(which))
    if re.fullmatch(IDENT, which) is None:
        raise WireError(
            f"{which[:80]!a} is no version of model {model!r}: expected a number, an alias or a "
            f"tag after the '@', which is {IDENT_SAID}"
        )
    return VersionChoice(model=model, name=which)


def version_name_fault(name: str) -> str | None:
    """Return why an alias or a tag cannot have this name; None: it can."""
    if re.fullmatch(IDENT, name) is None:
        return f"{name[:80]!a} is no name of a version: {IDENT_SAID}"
    if name.isdigit() or name == LATEST:
        return f"{name!r} means a version already: expected no number, and not {LATEST!r}"
    return None
