"""Checks of what the parts of a strategy return: shapes, names and finite numbers. Pure.

A collector, an agent and `fedbus plugins check` make the same checks with these functions. A
message begins with the name of the method; the caller adds the name of the plug-in.
"""

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import cast

import numpy as np

from fedbus.errors import LayoutError, PluginError
from fedbus.model.blob import check_update
from fedbus.model.layout import Weights
from fedbus.plugins.strategy_protocols import Block, Coefficients, LocalEnd
from fedbus.scalars import IDENT
from fedbus.text import listed
from fedbus.training.local_terms import LocalTerms


def checked_weight(found: object) -> float:
    """Return the weight of one update.

    Raises:
        PluginError: It is not a finite number of at least 0.
    """
    if not _is_number(found) or not 0 <= (weight := float(cast("float", found))) < math.inf:
        raise PluginError(f"weight: expected a finite number of at least 0, got {_shown(found)}")
    return weight


def checked_coefficients(found: object, updates: int) -> Coefficients:
    """Return the coefficients of a round's updates, as floats.

    Raises:
        PluginError: They are not one finite number for each update, or no update is used.
    """
    if not isinstance(found, Coefficients):
        raise PluginError(f"weigh: expected a fedbus.Coefficients, got {_shown(found)}")
    given = list(found.updates)
    if len(given) != updates:
        raise PluginError(f"weigh: expected a coefficient for each of {updates}, got {len(given)}")
    for what, number in [
        ("base", found.base),
        *((f"updates[{n}]", c) for n, c in enumerate(given)),
    ]:
        if not _is_number(number) or not math.isfinite(number):
            raise PluginError(f"weigh: {what}: expected a finite number, got {_shown(number)}")
    if not any(given):
        raise PluginError("weigh: all coefficients are 0, so that no update is used")
    return Coefficients(tuple(map(float, given)), float(found.base))


def checked_block(method: str, found: object, numbers: int) -> Block:
    """Return a block that a method made, as float64.

    Raises:
        PluginError: It is not an array of real numbers of the shape (numbers,), all finite.
    """
    if not isinstance(found, np.ndarray):
        raise PluginError(f"{method}: expected an array of shape ({numbers},), got {_shown(found)}")
    if found.shape != (numbers,):
        raise PluginError(f"{method}: expected shape ({numbers},), got {found.shape}")
    if found.dtype.kind not in "fiu":
        raise PluginError(f"{method}: expected floating-point numbers, got {found.dtype}")
    block = found.astype(np.float64, copy=False)
    try:
        check_update(block)
    except LayoutError as error:
        raise PluginError(f"{method}: {error}") from error
    return block


def checked_terms(found: object, base: Weights) -> LocalTerms:
    """Return an objective's terms.

    Raises:
        PluginError: `proximal` is negative or not finite, or `linear` has an array for something
            that is not in `base`, of another shape, or with a number that is not finite.
    """
    if not isinstance(found, LocalTerms):
        raise PluginError(f"terms: expected a fedbus.LocalTerms, got {_shown(found)}")
    if not _is_number(found.proximal) or not 0 <= found.proximal < math.inf:
        raise PluginError(
            f"terms: proximal: expected a finite number of at least 0, got {_shown(found.proximal)}"
        )
    _check_arrays("terms: linear", found.linear, base, complete=False)
    return found


def checked_local_end(found: object, base: Weights, sections: Sequence[str]) -> LocalEnd:
    """Return what an objective keeps on the agent and adds to the update.

    Args:
        base: The trained tensors of the base version by name.
        sections: Names of the sections that the strategy's updates have.

    Raises:
        PluginError: The sections are others, or the arrays do not fit the tensors of `base`.
    """
    if not isinstance(found, LocalEnd):
        raise PluginError(f"after: expected a fedbus.LocalEnd, got {_shown(found)}")
    if not isinstance(found.sections, Mapping) or set(found.sections) != set(sections):
        given = found.sections if isinstance(found.sections, Mapping) else [_shown(found.sections)]
        raise PluginError(
            f"after: expected sections {listed(sections) or 'none'}, got "
            f"{listed(map(str, given)) or 'none'}"
        )
    for name, arrays in found.sections.items():
        _check_arrays(f"after: section {name!r}", arrays, base)
    if not isinstance(found.own, Mapping) or found.own:
        _check_arrays("after: own", found.own, base)
    return found


def checked_update(found: object, update: Weights) -> Weights:
    """Return an update that a transform changed.

    Raises:
        PluginError: Names, shapes or dtypes differ from those of `update`, or a number is not
            finite.
    """
    _check_arrays("transform_update", found, update)
    changed = cast("Weights", found)
    for name, array in update.items():
        if changed[name].dtype != array.dtype:
            raise PluginError(
                f"transform_update: {name!r}: expected {array.dtype}, got {changed[name].dtype}"
            )
    return changed


def is_part_name(name: object) -> bool:
    """Return whether a section or an array of a strategy's state may have this name."""
    return isinstance(name, str) and re.fullmatch(IDENT, name) is not None


def _check_arrays(what: str, found: object, tensors: Weights, *, complete: bool = True) -> None:
    """Validate arrays by the name of a tensor; with `complete` each tensor needs one."""
    if not isinstance(found, Mapping):
        raise PluginError(f"{what}: expected arrays by tensor name, got {_shown(found)}")
    if unknown := [str(name) for name in found if name not in tensors]:
        raise PluginError(f"{what}: no trained tensor is named {listed(unknown)}")
    if missing := [name for name in tensors if complete and name not in found]:
        raise PluginError(f"{what}: no array for {listed(missing)}")
    for name, array in found.items():
        where, shape = f"{what}: {name!r}", tensors[name].shape
        if not isinstance(array, np.ndarray) or array.shape != shape:
            raise PluginError(f"{where}: expected an array of shape {shape}, got {_shown(array)}")
        if array.dtype.kind != "f":
            raise PluginError(f"{where}: expected floating-point numbers, got {array.dtype}")
        if not np.isfinite(array).all():
            raise PluginError(f"{where}: a number is NaN or infinite")


def _is_number(found: object) -> bool:
    return isinstance(found, Real) and not isinstance(found, bool)


def _shown(found: object) -> str:
    """Describe a wrong result in a few words: a number by its value, others by their type."""
    if isinstance(found, Real):
        return str(found)
    if isinstance(found, np.ndarray):
        return f"an array of {found.dtype} and shape {found.shape}"
    return f"a {type(found).__name__}"
