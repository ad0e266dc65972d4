"""Trial of what agents call: objectives, and transforms of updates."""

from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np

from fedbus.model.layout import Weights
from fedbus.plugins import AfterTraining, LocalEnd, LocalStart, Objective, TransformsUpdate
from fedbus.plugins.agent_part_checks import checked_local_end, checked_terms, checked_update
from fedbus.plugins.part_caller import PartCaller
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import TrainingParams

STEPS: Final = 6
_SHAPES: Final = {"dense/kernel": (4, 3), "dense/bias": (3,)}


def try_objective(part: Objective, caller: PartCaller) -> Iterator[str]:
    """Ask for the terms of a small model's training, and end it, in a first and a later round.

    Raises:
        PluginError: The objective failed or returned what an agent refuses, or a repeated call
            gave other terms.
    """
    if getattr(part, "sections", ()) and not isinstance(part, AfterTraining):
        raise caller.error(
            "sections are made by a method after(start, update, steps): there is none"
        )
    rng = np.random.default_rng(0)
    base, update = _arrays(rng, 1.0), _arrays(rng, 0.1)
    for what, scale in (("first round", 0.0), ("later round", 0.5)):
        start = LocalStart(
            params=TrainingParams(),
            base=base,
            own=_arrays(rng, scale),
            server={name: _arrays(rng, scale) for name in getattr(part, "server_state", ())},
        )
        terms, again = (_terms(part, caller, start) for _ in range(2))
        if terms.proximal != again.proximal or not _equal(terms.linear, again.linear):
            raise caller.error(
                "terms: a repeated call gave another result; it must depend on its arguments alone"
            )
        yield f"{what}: proximal {terms.proximal:g}; {norms_text('linear terms', terms.linear)}"
        if not isinstance(part, AfterTraining):
            continue
        end = caller(partial(_end, part, start, update))
        added = [norms_text(f"section {name}", arrays) for name, arrays in end.sections.items()]
        yield f"{what}: {'; '.join([norms_text('own arrays', end.own), *added])}"


def _terms(part: Objective, caller: PartCaller, start: LocalStart) -> LocalTerms:
    return caller(lambda: checked_terms(part.terms(start), start.base))


def _end(part: AfterTraining, start: LocalStart, update: Weights) -> LocalEnd:
    found = part.after(start, update, STEPS)
    return checked_local_end(found, start.base, getattr(part, "sections", ()))


def try_transform_of_updates(part: TransformsUpdate, caller: PartCaller) -> Iterator[str]:
    """Transform an update of a small model, twice with one random seed.

    Raises:
        PluginError: The transform failed or returned what an agent refuses.
    """
    update = small_update()

    def changed() -> Weights:
        rng = np.random.default_rng(1)
        return caller(lambda: checked_update(part.transform_update(update, rng), update))

    new = changed()
    yield f"agent: {norms_text('an update', update)} became {norms_text('one', new)}"
    if not _equal(new, changed()):
        yield "agent: the same random seed gave another update: such a job cannot be replayed"


def small_update() -> Weights:
    """Return an update of a small model, read-only as an agent gives it."""
    return _arrays(np.random.default_rng(0), 0.1)


def _arrays(rng: np.random.Generator, scale: float) -> Weights:
    """Return arrays of a small model, read-only as an agent gives them."""
    arrays = {
        name: (scale * rng.normal(size=shape)).astype(np.float32) for name, shape in _SHAPES.items()
    }
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def _equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) for name in one
    )


def norms_text(what: str, arrays: Weights) -> str:
    """Return what arrays are called, with their L2 norm."""
    squares = sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays.values())
    return f"{what} of norm {np.sqrt(squares):.4g}" if arrays else f"no {what}"
