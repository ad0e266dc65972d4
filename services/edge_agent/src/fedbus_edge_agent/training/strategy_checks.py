"""Checks of what a strategy's plug-ins return to an agent: terms, own arrays, sections, updates.

Each raises TrainingError with the plug-in's kind and id.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import LayoutError, TrainingError
from fedbus.model.blob import check_update
from fedbus.model.layout import Array, Layout, Tensor, Weights
from fedbus.model.sections import join_section, trained_tensors
from fedbus.plugins import LocalEnd
from fedbus.text import listed
from fedbus.training.local_terms import LocalTerms


def checked_terms(objective: str, terms: object, layout: Layout) -> LocalTerms:
    """Return terms whose arrays have the shape and dtype of their tensors; all are finite."""
    with _naming(f"objective {objective!r}"):
        if not isinstance(terms, LocalTerms):
            raise TrainingError(f"expected LocalTerms, got a {type(terms).__name__}")
        proximal = float(terms.proximal)
        if not (math.isfinite(proximal) and proximal >= 0):
            raise TrainingError(f"its proximal term is {proximal}; expected a number of at least 0")
        tensors = {tensor.name: tensor for tensor in trained_tensors(layout)}
        if foreign := terms.linear.keys() - tensors.keys():
            raise TrainingError(f"a linear term for {listed(foreign)}: no tensors that are trained")
        linear = {name: _checked_term(array, tensors[name]) for name, array in terms.linear.items()}
        return LocalTerms(proximal=proximal, linear=linear)


def _checked_term(array: object, tensor: Tensor) -> Array:
    if not isinstance(array, np.ndarray) or array.shape != tensor.shape:
        found = f"shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TrainingError(f"linear term of {tensor.name!r}: expected {tensor.shape}, got {found}")
    with np.errstate(over="ignore", invalid="ignore"):
        term = array.astype(tensor.dtype, casting="same_kind", copy=False)
    _check_finite(f"linear term of {tensor.name!r}", term)
    return term


def checked_own(objective: str, end: object, layout: Layout) -> NDArray[np.float32] | None:
    """Return the arrays that the agent keeps, as one section; None if it keeps none."""
    with _naming(f"objective {objective!r}"):
        if not isinstance(end, LocalEnd):
            raise TrainingError(f"expected a LocalEnd, got a {type(end).__name__}")
        return _section("own arrays", end.own, layout) if end.own else None


def checked_section(
    objective: str, end: LocalEnd, name: str, layout: Layout
) -> NDArray[np.float32]:
    """Return a section that the task asks for."""
    with _naming(f"objective {objective!r}"):
        if name not in end.sections:
            raise TrainingError(f"it makes no section {name!r}, which the job's strategy needs")
        return _section(f"section {name!r}", end.sections[name], layout)


def _section(what: str, arrays: Weights, layout: Layout) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            section = join_section(arrays, layout)
    except (AttributeError, LayoutError) as error:
        raise TrainingError(f"{what}: {error}") from error
    _check_finite(what, section)
    return section


def checked_update(transform: str, made: object, tensors: tuple[Tensor, ...]) -> Weights:
    """Return a transformed update: the same names, shapes and dtypes, and finite."""
    with _naming(f"update transform {transform!r}"):
        if not isinstance(made, Mapping):
            raise TrainingError(f"expected arrays by name, got a {type(made).__name__}")
        Layout(tensors).check(made)
        for name, array in made.items():
            _check_finite(f"tensor {name!r}", array)
        return made


def _check_finite(what: str, array: Array) -> None:
    try:
        check_update(array.reshape(-1))
    except LayoutError as error:
        raise TrainingError(f"{what} is not finite ({error})") from error


@contextmanager
def _naming(part: str) -> Iterator[None]:
    """Put a plug-in's name before the reason why what it returned cannot be used."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, LayoutError, TrainingError) as error:
        raise TrainingError(f"{part}: {error}") from error
