"""Reader of formats in aerOS's notation, as owners and model specs state them."""

from collections.abc import Mapping
from typing import Any

from fedbus.data.format import AXES, DTYPES, KINDS, Field, Format, Kind
from fedbus.errors import TrainingError
from fedbus.limits import MAX_DIMENSIONS
from fedbus.text import listed
from fedbus.wire.announced_names import MAX_NAME_CHARACTERS


def read_format(plain: object) -> Format:
    """Read what an owner, or an aerOS `format.json`, says of a data set.

    Raises:
        TrainingError: it is not written as above; the sentence says where.
    """
    match plain:
        case {"x": x, "y": y}:
            return Format(x=read_field("x", x), y=read_field("y", y))
        case _:
            raise TrainingError('a format is an object with "x" and "y"')


def read_field(name: str, plain: object) -> Field:
    """Read one of its two halves; `name` is what errors call it.

    Raises:
        TrainingError: it is not `{"data_types": {KIND: {"size": […], …}}}`.
    """
    match plain:
        case {"data_types": {"image": Mapping() as said, **rest}} if not rest:
            return _field(name, "image", said)
        case {"data_types": {"numerical": Mapping() as said, **rest}} if not rest:
            return _field(name, "numerical", said)
        case {"data_types": {"categorical": Mapping() as said, **rest}} if not rest:
            return _field(name, "categorical", said)
        case _:
            kinds = listed(KINDS)
            raise TrainingError(f"{name}: data_types with one of {kinds} belongs there")


def _field(name: str, kind: Kind, said: Mapping[str, Any]) -> Field:
    size, dtype = said.get("size"), said.get("dtype", "")
    whole = isinstance(size, list) and all(type(n) is int and n > 0 for n in size)
    if not whole or not isinstance(size, list) or len(size) > MAX_DIMENSIONS:
        raise TrainingError(
            f"{name}.{kind}.size is {size!r}; at most {MAX_DIMENSIONS} whole numbers above 0 "
            "belong there"
        )
    if not isinstance(dtype, str) or dtype not in DTYPES | {""}:
        raise TrainingError(f"{name}.{kind}.dtype is {dtype!r}; it can be {listed(DTYPES)}")
    normalized = said.get("normalized", False)
    if not isinstance(normalized, bool):
        raise TrainingError(f"{name}.{kind}.normalized is {normalized!r}, neither true nor false")
    axes = said.get("axes", "")
    if axes not in AXES:
        raise TrainingError(f"{name}.{kind}.axes is {axes!r}; it can be {listed(AXES[1:])}")
    return Field(
        kind=kind, size=tuple(size), dtype=dtype, normalized=normalized, axes=axes,
        classes=_names(f"{name}.{kind}.classes", said.get("classes", [])),
        columns=_names(f"{name}.{kind}.columns", said.get("columns", [])),
    )  # fmt: skip


def _names(where: str, said: object) -> tuple[str, ...]:
    match said:
        case [*names] if all(
            isinstance(name, str) and len(name) <= MAX_NAME_CHARACTERS for name in names
        ):
            if len(set(names)) == len(names):
                return tuple(map(str, names))
    raise TrainingError(
        f"{where}: expected a list of different names, each of at most "
        f"{MAX_NAME_CHARACTERS} characters"
    )
