"""Field types and the base class of a job file's objects. Pure."""

import math
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fedbus.limits import MAX_WORD_CHARACTERS
from fedbus.scalars import IDENT

MAX_LISTED: Final = 256
_ARGUMENT: Final = (
    f"neither a number, a flag, text of at most {MAX_WORD_CHARACTERS} characters, nor a list of "
    f"at most {MAX_LISTED} numbers"
)


def _no_flag(value: object) -> object:
    """Reject a flag: for Python true is the number 1, for a job file it is not."""
    if isinstance(value, bool):
        raise PydanticCustomError("flag_for_number", "not a number")
    return value


def number_of(value: object) -> float | None:
    """Parse a number as the schema does; None: not a number, which the schema reports."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def flag_as_number(value: object) -> object:
    """Convert a flag to 1 or 0."""
    return {"true": 1, "false": 0}.get(str(value).lower(), value)


def _argument(value: object) -> object:
    """Reject a value that `fedbus.training.params.Argument` does not allow."""
    if isinstance(value, list):
        good = len(value) <= MAX_LISTED and all(map(_is_number, value))
    else:
        good = isinstance(value, bool) or _is_number(value) or _is_text(value)
    if not good:
        raise PydanticCustomError("argument", _ARGUMENT)
    return tuple(value) if isinstance(value, list) else value


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53)


def _is_text(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_WORD_CHARACTERS:
        return False
    return not any(
        "\ud800" <= letter <= "\udfff" for letter in value
    )  # half a surrogate pair cannot be encoded


def _no_null(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {name: each for name, each in value.items() if each is not None}


NOT_A_FLAG = BeforeValidator(_no_flag)

Whole = Annotated[int, NOT_A_FLAG]
Real = Annotated[float, NOT_A_FLAG]
Pair = tuple[Real, Real]
Name = Annotated[str, Field(pattern=f"^{IDENT}$")]
Label = Annotated[str, Field(max_length=MAX_WORD_CHARACTERS)]
Parameters = Annotated[
    dict[Name, Annotated[Any, AfterValidator(_argument)]],
    Field(max_length=64),
    BeforeValidator(_no_null),
]
Word = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=MAX_WORD_CHARACTERS)
]


class JobFileObject(BaseModel):
    """Base of the objects of a job file: frozen, without unknown keys; null equals leaving out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, written: Any) -> Any:  # noqa: ANN401 - any JSON value
        if not isinstance(written, dict):
            return written
        known = cls.names()
        return {name: v for name, v in written.items() if v is not None or name not in known}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the keys as the file spells them."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())
