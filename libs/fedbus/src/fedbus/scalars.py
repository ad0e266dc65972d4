"""Scalar types with bounds, as messages and training parameters use them. Pure.

pydantic validates them where bytes become messages (`wire/codec.py`) and reads the bounds from the
annotations here. This module does not import pydantic, so that training on a small device does not
load it.

pydantic's strict mode refuses a map for a dataclass and its lax mode takes "1" for 1, so each
scalar is strict, and containers stay lax: a msgpack list becomes a tuple.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fedbus.limits import (
    MAX_IDENT_CHARACTERS,
    MAX_TEXT_CHARACTERS,
    MAX_WORD_CHARACTERS,
)

IDENT = rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_IDENT_CHARACTERS - 1}}}"
"""Regular expression of a name."""
IDENT_SAID = (
    f"1 to {MAX_IDENT_CHARACTERS} letters, digits, '.', '_' or '-', the first a letter or digit"
)
"""The same in words, for error messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of an annotated type, under pydantic's names for them; None is no bound."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    allow_inf_nan: bool | None = None

    def __get_pydantic_core_schema__(
        self, source: object, handler: Callable[[object], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return pydantic's schema of the annotated type, with these bounds."""
        bounds = {name: getattr(self, name) for name in Bounds.__slots__}
        return handler(source) | {
            name: bound for name, bound in bounds.items() if bound is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Strict(Bounds):
    """Bounds of a scalar that is never converted: "1" and 1.0 are not the whole number 1."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: Callable[[object], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return pydantic's schema of the annotated type, strict and with these bounds."""
        return Bounds.__get_pydantic_core_schema__(self, source, handler) | {"strict": True}


Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(max_length=MAX_TEXT_CHARACTERS)]
Word = Annotated[str, Strict(max_length=MAX_WORD_CHARACTERS)]
Ident = Annotated[str, Strict(pattern=rf"^{IDENT}$")]
Raw = Annotated[bytes, Strict()]
Whole = Annotated[int, Strict(ge=0, lt=2**53)]
Signed = Annotated[int, Strict(ge=-(2**53), lt=2**53)]
Number = Annotated[float, Strict(allow_inf_nan=False)]
RoundNumber = Annotated[int, Strict(ge=1, lt=2**31)]
