"""Parameters of a strategy's parts, read from the signatures of their factories. Pure.

A job file may have numbers and flags as text, here as elsewhere in it: a value becomes what the
annotation says; without one, what the type of its default says. A parameter without either, or with
an annotation that is not known here, takes any value; its factory checks it.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from fedbus.training.params import Argument
from fedbus.wire.job_faults import show

_NAMED: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_FLAGS: Final = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(
    ("false", "0", "no", "off"), False
)
_WORDS: Final[Mapping[object, tuple[str, str]]] = {
    bool: ("true or false", "flags"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
}
_MAX_WHOLE: Final = 2**53


@dataclass(frozen=True, slots=True)
class FactoryParameter:
    """One parameter of a factory; `default` is None if it has none or if the default is None."""

    hint: object
    default: Argument | None
    required: bool

    def read(self, value: Argument) -> Argument:
        """Return the value as the annotation says; raise ValueError if it is another kind."""
        return _read(value, self.hint)

    @property
    def expected(self) -> str:
        """The kind of its values in words: `a whole number`."""
        return _said(self.hint)


@dataclass(frozen=True, slots=True)
class FactoryParameters:
    """What a factory takes by name; with `any_name`, also names that it does not state."""

    named: Mapping[str, FactoryParameter] = field(default_factory=dict)
    any_name: bool = False

    def takes(self, name: str) -> bool:
        """Return whether a job may give a parameter of this name."""
        return self.any_name or name in self.named

    @property
    def defaults(self) -> dict[str, Argument]:
        """The defaults that are not None."""
        return {n: each.default for n, each in self.named.items() if each.default is not None}


ANY_NAME: Final = FactoryParameters(any_name=True)
"""What a factory takes that does not state it."""


def parameters_of(factory: Callable[..., object]) -> FactoryParameters:
    """Return the parameters of a factory, in the order of its signature."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # written in C, without a signature
        return ANY_NAME
    hints = _hints(factory)
    known = signature.parameters
    named = {
        name: FactoryParameter(
            hints.get(name, _type_of_default(each)),
            None if each.default is inspect.Parameter.empty else each.default,
            each.default is inspect.Parameter.empty,
        )
        for name, each in known.items()
        if each.kind in _NAMED
    }
    any_name = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known.values())
    return FactoryParameters(named, any_name)


def _type_of_default(parameter: inspect.Parameter) -> object:
    """Return the type of values that a parameter without an annotation takes."""
    bare = parameter.annotation is inspect.Parameter.empty
    return type(parameter.default) if bare and type(parameter.default) in _WORDS else Any


def _hints(factory: Callable[..., object]) -> Mapping[str, object]:
    call = inspect.getattr_static(factory, "__init__", None) if isinstance(factory, type) else None
    with suppress(Exception):  # a name that is imported for the type check only
        return get_type_hints(call or factory)
    return {}


def _read(value: Argument, hint: object) -> Argument:
    options = _options(hint)
    for option in options:
        if type(value) is option:
            return value
    for option in options:
        with suppress(ValueError):
            return _converted(value, option)
    raise ValueError(f"expected {_said(hint)}, got {_shown(value)}")


def _options(hint: object) -> list[object]:
    """Return the alternatives of an annotation, without None: a job leaves a parameter out."""
    if get_origin(hint) in (Union, UnionType):
        return [each for option in get_args(hint) for each in _options(option)]
    return [] if hint in (None, NoneType) else [hint]


def _converted(value: Argument, option: object) -> Argument:
    if option is bool:
        return _flag(value)
    if option is int:
        return _whole(value)
    if option is float:
        return _number(value)
    if get_origin(option) is Literal:
        return _word(value, get_args(option))
    if (items := _items(option)) is not None:
        return _listed(value, items)
    if option is str:
        raise ValueError
    return value


def _flag(value: Argument) -> bool:
    flag = _FLAGS.get(str(value).strip().lower())
    if flag is None or isinstance(value, float | tuple):
        raise ValueError
    return flag


def _whole(value: Argument) -> int:
    if isinstance(value, bool | tuple) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    number = int(value)
    if abs(number) >= _MAX_WHOLE:
        raise ValueError
    return number


def _number(value: Argument) -> float:
    number = math.nan if isinstance(value, bool | tuple) else float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _word(value: Argument, words: Sequence[object]) -> Argument:
    for word in words:
        if type(word) is type(value) and word == value:
            return value
    raise ValueError


def _items(option: object) -> tuple[object, ...] | None:
    """Return the annotations of a list's items, one before `...` for any number of them."""
    if get_origin(option) is tuple:
        return get_args(option)
    if isinstance(origin := get_origin(option), type) and issubclass(origin, Sequence):
        return (*get_args(option), ...)
    return (Any, ...) if option in (tuple, list) else None


def _listed(value: Argument, items: tuple[object, ...]) -> Argument:
    numbers = value if isinstance(value, tuple) else ()
    hints = [items[0]] * len(numbers) if items[-1] is ... else [*items]
    if numbers is not value or len(hints) != len(numbers):
        raise ValueError
    # The items of an argument are numbers, so what they become are numbers.
    return tuple(_read(each, hint) for each, hint in zip(numbers, hints, strict=True))  # type: ignore[misc]


def _said(hint: object) -> str:
    return " or ".join(dict.fromkeys(map(_said_one, _options(hint)))) or "no value"


def _said_one(option: object) -> str:
    if get_origin(option) is Literal:
        return f"one of {', '.join(map(_shown, get_args(option)))}"
    if (items := _items(option)) is not None:
        each = _WORDS.get(items[0], ("", "values"))[1]
        return f"a list of {each}" if items[-1] is ... else f"a list of {len(items)} {each}"
    return _WORDS.get(option, ("any value",))[0]


def _shown(value: object) -> str:
    return show([*value] if isinstance(value, tuple) else value)
