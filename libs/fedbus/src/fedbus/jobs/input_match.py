"""Comparison of a model's input with an agent's data format. Pure."""

from collections.abc import Mapping
from typing import Any


def input_reason(wanted: Mapping[str, Any], format_: Mapping[str, Any]) -> str | None:
    """Compare a model's input with a data format, both in aerOS's notation.

    Args:
        wanted: The spec's `input`, as `{"data_types": {"image": {"size": [28, 28, 1],
            "normalized": true}}}`. A model that wants normalised numbers accepts no others; without
            the key it accepts any.
        format_: The data's format, with such an entry under `x`.
    """
    wants, has = _types(wanted.get("x", wanted)), _types(format_.get("x"))
    if not wants or not has:
        return None
    for kind, want in wants.items():
        have = has.get(kind)
        if have is None or (want[0] and have[0] and want[0] != have[0]):
            return (
                f"the model takes {_shown(wants)}; the data here is {_shown(has)}"
                f"{_channels_hint(wanted.get('x', wanted), format_.get('x'))}"
            )
        if want[1] and not have[1]:
            return f"the model takes normalised {kind} data; the data here is not normalised"
    return None


def _channels_hint(wanted: object, have: object) -> str:
    """Name the transform that moves an image's channels to where the model has them."""
    match wanted, have:
        case (
            {"data_types": {"image": {"size": [*wants]}}},
            {"data_types": {"image": {"size": [*has]}}},
        ) if len(wants) == len(has) == 3:  # noqa: PLR2004 - height, width, channels
            first, second, last = has
            if wants == [last, first, second]:
                return ', channels last (the transform "channels-first" moves them)'
            if wants == [second, last, first]:
                return ', channels first (the transform "channels-last" moves them)'
    return ""


def _types(half: object) -> dict[str, tuple[str, bool]]:
    """Read `data_types`: the size of each kind, as it is written, and whether it is normalised."""
    match half:
        case {"data_types": dict(kinds)}:
            return {
                str(kind): (str(entry.get("size") or ""), entry.get("normalized") is True)
                for kind, entry in kinds.items()
                if isinstance(entry, dict)
            }
        case _:
            return {}


def _shown(types: Mapping[str, tuple[str, bool]]) -> str:
    return " and ".join(f"{kind[:40]} {size[:80]}".rstrip() for kind, (size, _) in types.items())
