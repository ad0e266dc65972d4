"""Every kind of message there is, and instances of each, made from its fields' types alone."""

import types
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from fedbus.wire import documents
from fedbus.wire.identifiers import ROLES
from fedbus.wire.timestamps import format_timestamp
from fedbus.wire.topics import LINKS, PUBLIC

T = TypeVar("T")

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(link.message for link in LINKS),
        *(topic.message for topic in PUBLIC if topic.message is not None),
        documents.ModelSpec,
    )
}


def bounds(hint: object) -> tuple[Any, dict[str, Any]]:
    """Take an annotation apart: the bare type, and what is said about it (ge, lt, pattern …)."""
    said: dict[str, Any] = {}
    if get_origin(hint) is Annotated:
        bare, *notes = get_args(hint)
        for note in notes:
            for constraint in (note, *getattr(note, "metadata", ())):
                for name in ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern"):
                    if getattr(constraint, name, None) is not None:
                        said[name] = getattr(constraint, name)
        return bare, said
    return hint, said


def values(hint: object) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one per kind of type
    """Anything a field of this type may hold; containers are kept short."""
    bare, said = bounds(hint)
    origin, args = get_origin(bare), get_args(bare)
    if is_dataclass(bare):
        assert isinstance(bare, type)
        return instances(bare)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([values(arg) for arg in args])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        shortest = said.get("min_length", 0)
        longest = min(said.get("max_length", 4), shortest + 3)
        return st.lists(values(args[0]), min_size=shortest, max_size=longest).map(tuple)
    if origin in (dict, Mapping):
        return st.dictionaries(values(args[0]), values(args[1]), max_size=3)
    if bare is Any:
        plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9)
        return st.recursive(
            plain,
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2)
            ),
            max_leaves=4,
        )
    return _scalars(bare, said)


def _scalars(bare: object, said: dict[str, Any]) -> st.SearchStrategy[Any]:
    if bare is int:
        most = said["lt"] - 1 if "lt" in said else said["le"]
        return st.integers(said["ge"], most)
    if bare is float:
        return st.floats(
            said.get("gt", said.get("ge")),
            said.get("lt", said.get("le")),
            exclude_min="gt" in said,
            exclude_max="lt" in said,
            allow_nan=False,
            allow_infinity=False,
        )
    if bare is str and "pattern" in said:
        return _named(said["pattern"])
    if bare is str:
        return st.text(max_size=min(20, said.get("max_length", 20)))
    least, most = said.get("min_length", 0), said.get("max_length", 20)
    known: dict[object, st.SearchStrategy[Any]] = {
        bytes: st.binary(min_size=least, max_size=most),
        bool: st.booleans(),
        types.NoneType: st.none(),
    }
    return known[bare]


def _named(pattern: str) -> st.SearchStrategy[str]:
    ident = st.builds("".join, st.tuples(st.sampled_from("aZ09"), st.text("aZ09._-", max_size=63)))
    if "{64}" in pattern:
        return st.binary(min_size=32, max_size=32).map(bytes.hex)
    if "agent|" in pattern:
        return st.builds("{}.{}".format, st.sampled_from(ROLES), ident)
    if "T[0-9]" in pattern:
        return st.floats(0, 4e9).map(format_timestamp)
    return ident


@cache
def instances(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any message of a kind."""
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{name: values(hint) for name, hint in hints.items()})


def example(kind: type[T]) -> T:
    """The same message of a kind every time, with something in every field."""
    hints = get_type_hints(kind, include_extras=True)
    return kind(**{name: _example(hint, name) for name, hint in hints.items()})


def _example(hint: object, name: str) -> object:  # noqa: PLR0911 - one per kind of type
    bare, said = bounds(hint)
    origin, args = get_origin(bare), get_args(bare)
    if is_dataclass(bare):
        assert isinstance(bare, type)
        return example(bare)
    if origin in (types.UnionType, typing.Union):
        return _example(args[0], name)
    if origin is Literal:
        return args[0]
    if origin is tuple:
        return (_example(args[0], name),)
    if origin in (dict, Mapping):
        return {_example(args[0], name): _example(args[1], name)}
    if bare is str and "{64}" in said.get("pattern", ""):
        return "0123456789abcdef" * 4
    if bare is str and "agent|" in said.get("pattern", ""):
        return "agent.pi-7"
    if bare is str and "T[0-9]" in said.get("pattern", ""):
        return "2026-11-29T08:53:28.120Z"
    if bare is bytes and "min_length" in said:
        return b"\xff" * said["min_length"]
    whole, real = max(7, said.get("ge", 7)), 0.25 if said.get("gt", 0) < 0.25 else 0.75
    plain = {str: name, int: whole, float: real, bool: True, bytes: b"\x00\xff"}
    return [1, None, "x"] if bare is Any else plain[bare]
