"""Checks of what the parts of a strategy return to an agent: names, shapes, finite numbers. Pure.

An agent and `fedbus plugins check` make the same checks with these functions, which also convert
arrays to the dtype in which they are used. A message begins with the name of the method; the caller
adds the name of the plug-in. What a collector gets is checked in `collector_part_calls.py`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from fedbus.errors import PluginError
from fedbus.model.layout import Weights
from fedbus.plugins.objective_protocols import LocalEnd
from fedbus.plugins.privacy_protocols import PrivateUpdate
from fedbus.scalars import IDENT
from fedbus.text import listed
from fedbus.training.local_terms import LocalTerms


def checked_terms(found: object, base: Weights) -> LocalTerms:
    """Return an objective's terms, their arrays with the dtypes of `base`.

    Raises:
        PluginError: `proximal` is negative or not finite, or `linear` has an array for something
            that is not in `base`, of another shape, or with a number that is not finite in the
            dtype of its tensor.
    """
    if not isinstance(found, LocalTerms):
        raise PluginError(f"terms: expected a fedbus.LocalTerms, got {_shown(found)}")
    if not _is_number(found.proximal) or not 0 <= found.proximal < math.inf:
        raise PluginError(
            f"terms: proximal: expected a finite number of at least 0, got {_shown(found.proximal)}"
        )
    dtypes = {name: array.dtype for name, array in base.items()}
    linear = _checked_arrays("terms: linear", found.linear, base, dtypes, complete=False)
    return LocalTerms(proximal=float(found.proximal), linear=linear)


def checked_local_end(found: object, base: Weights, sections: Sequence[str]) -> LocalEnd:
    """Return what an objective keeps on the agent and adds to the update, as float32.

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
    single = dict.fromkeys(base, np.dtype(np.float32))
    made = {
        name: _checked_arrays(f"after: section {name!r}", arrays, base, single)
        for name, arrays in found.sections.items()
    }
    keeps_none = isinstance(found.own, Mapping) and not found.own
    own = {} if keeps_none else _checked_arrays("after: own", found.own, base, single)
    return LocalEnd(own=own, sections=made)


def checked_update(found: object, update: Weights) -> Weights:
    """Return an update that a transform changed.

    Raises:
        PluginError: Names, shapes or dtypes differ from those of `update`, or a number is not
            finite.
    """
    changed = _checked_arrays("transform_update", found, update)
    for name, array in update.items():
        if changed[name].dtype != array.dtype:
            raise PluginError(
                f"transform_update: {name!r}: expected {array.dtype}, got {changed[name].dtype}"
            )
    return changed


def checked_protection(found: object, update: Weights) -> PrivateUpdate:
    """Return what a privacy mechanism made of an update.

    Raises:
        PluginError: Names, shapes or dtypes differ from those of `update`, a number is not finite,
            or the norm bit is no finite number.
    """
    if not isinstance(found, PrivateUpdate):
        raise PluginError(f"protect: expected a fedbus.plugins.PrivateUpdate, got {_shown(found)}")
    arrays = _checked_arrays("protect", found.update, update)
    for name, array in update.items():
        if arrays[name].dtype != array.dtype:
            raise PluginError(
                f"protect: {name!r}: expected {array.dtype}, got {arrays[name].dtype}"
            )
    bit = found.norm_bit
    if bit is None:
        return PrivateUpdate(update=arrays)
    if not _is_number(bit) or not math.isfinite(bit):
        raise PluginError("protect: norm_bit: expected a finite number")
    return PrivateUpdate(update=arrays, norm_bit=float(bit))


def is_part_name(name: object) -> bool:
    """Return whether a section or an array of a strategy's state may have this name."""
    return isinstance(name, str) and re.fullmatch(IDENT, name) is not None


def _checked_arrays(
    what: str,
    found: object,
    tensors: Weights,
    dtypes: Mapping[str, np.dtype[Any]] | None = None,
    *,
    complete: bool = True,
) -> Weights:
    """Return arrays by the name of a tensor, converted; with `complete` each tensor needs one."""
    if not isinstance(found, Mapping):
        raise PluginError(f"{what}: expected arrays by tensor name, got {_shown(found)}")
    if unknown := [str(name) for name in found if name not in tensors]:
        raise PluginError(f"{what}: no trained tensor is named {listed(unknown)}")
    if missing := [name for name in tensors if complete and name not in found]:
        raise PluginError(f"{what}: no array for {listed(missing)}")
    checked = {}
    for name, array in found.items():
        where, shape = f"{what}: {name!r}", tensors[name].shape
        if not isinstance(array, np.ndarray) or array.shape != shape:
            raise PluginError(f"{where}: expected an array of shape {shape}, got {_shown(array)}")
        if array.dtype.kind != "f":
            raise PluginError(f"{where}: expected floating-point numbers, got {array.dtype}")
        with np.errstate(over="ignore"):
            converted = array if dtypes is None else array.astype(dtypes[name], copy=False)
        if not np.isfinite(converted).all():
            raise PluginError(f"{where}: a number is NaN or infinite in {converted.dtype}")
        checked[name] = converted
    return checked


def _is_number(found: object) -> bool:
    return isinstance(found, Real) and not isinstance(found, bool)


def _shown(found: object) -> str:
    """Describe a wrong result in a few words: a number by its value, others by their type."""
    if isinstance(found, Real):
        return str(found)
    if isinstance(found, np.ndarray):
        return f"an array of {found.dtype} and shape {found.shape}"
    return f"a {type(found).__name__}"
