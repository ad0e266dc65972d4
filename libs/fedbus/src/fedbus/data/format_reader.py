"""Reader of formats in aerOS's notation, as owners and model specs state them."""

from collections.abc import Mapping
from typing import Any

from fedbus.data.format import AXES, DTYPES, KINDS, Field, Format, Kind
from fedbus.errors import TrainingError
from fedbus.limits import MAX_DIMENSIONS
from fedbus.text import listed
from fedbus.wire.announced_names import MAX_NAME_CHARACTERS


def read_format(plain: object) -> Format:
    """Read the format of a data set from an owner's settings or an aerOS `format.json`.

    Raises:
        TrainingError: the format is malformed; the message names the key.
    """
    match plain:
        case {"x": x, "y": y}:
            return Format(x=read_field("x", x), y=read_field("y", y))
        case _:
            raise TrainingError('expected an object with "x" and "y"')


def read_field(name: str, plain: object) -> Field:
    """Read x or y of a format; `name` is its name in error messages.

    Raises:
        TrainingError: it is not `{"data_types": {KIND: {"size": […], …}}}`.
    """
    match plain:
        case {"data_types": {"image": Mapping() as stated, **rest}} if not rest:
            return _field(name, "image", stated)
        case {"data_types": {"numerical": Mapping() as stated, **rest}} if not rest:
            return _field(name, "numerical", stated)
        case {"data_types": {"categorical": Mapping() as stated, **rest}} if not rest:
            return _field(name, "categorical", stated)
        case _:
            kinds = listed(KINDS)
            raise TrainingError(f"{name}: expected data_types with one of {kinds}")


def _field(name: str, kind: Kind, stated: Mapping[str, Any]) -> Field:
    size, dtype = stated.get("size"), stated.get("dtype", "")
    whole = isinstance(size, list) and all(type(n) is int and n > 0 for n in size)
    if not whole or not isinstance(size, list) or len(size) > MAX_DIMENSIONS:
        raise TrainingError(
            f"{name}.{kind}.size is {size!r}: expected at most {MAX_DIMENSIONS} whole numbers "
            "above 0"
        )
    if not isinstance(dtype, str) or dtype not in DTYPES | {""}:
        raise TrainingError(f"{name}.{kind}.dtype is {dtype!r}: expected {listed(DTYPES)}")
    normalized = stated.get("normalized", False)
    if not isinstance(normalized, bool):
        raise TrainingError(f"{name}.{kind}.normalized is {normalized!r}: expected true or false")
    axes = stated.get("axes", "")
    if axes not in AXES:
        raise TrainingError(f"{name}.{kind}.axes is {axes!r}: expected {listed(AXES[1:])}")
    return Field(
        kind=kind, size=tuple(size), dtype=dtype, normalized=normalized, axes=axes,
        classes=_names(f"{name}.{kind}.classes", stated.get("classes", [])),
        columns=_names(f"{name}.{kind}.columns", stated.get("columns", [])),
    )  # fmt: skip


def _names(where: str, stated: object) -> tuple[str, ...]:
    match stated:
        case [*names] if all(
            isinstance(name, str) and len(name) <= MAX_NAME_CHARACTERS for name in names
        ):
            if len(set(names)) == len(names):
                return tuple(map(str, names))
    raise TrainingError(
        f"{where}: expected a list of different names, each of at most "
        f"{MAX_NAME_CHARACTERS} characters"
    )
