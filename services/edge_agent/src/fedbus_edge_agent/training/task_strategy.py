"""The agent's half of a strategy in one task: terms of the loss, sections, transforms."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import PluginError, TrainingError
from fedbus.model.blob import decode, writable_arrays
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Array, Layout, Weights
from fedbus.model.sections import (
    SECTION_PREFIX,
    join_section,
    split_section,
    state_layout,
    trained_tensors,
    update_layout,
)
from fedbus.plugins import LocalStart, UsesLocalTerms
from fedbus.plugins.agent_part_checks import checked_local_end, checked_terms, checked_update
from fedbus.training.local_terms import LocalTerms
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.checks import check_digest
from fedbus_edge_agent.training.local_strategy import LocalStrategy
from fedbus_edge_agent.training.trainer_cache import CachedTrainer

_TRANSFORM_SEED = 2
"""Makes the chance of update transforms another than that of shuffling and of data transforms."""


class TaskStrategy:
    """The parts of a job's strategy at work in one training.

    Args:
        parts: The plug-ins.
        start: What the objective knows before the training.
        layout: The model's.
        sections: Names of the arrays that the update must have beside the differences.

    Raises:
        TrainingError: No part makes a section.
    """

    def __init__(
        self, parts: LocalStrategy, start: LocalStart, layout: Layout, sections: Sequence[str] = ()
    ) -> None:
        self.update_layout = update_layout(layout, sections)
        self._parts = parts
        self._start = start
        self._layout = layout
        self._sections = sections
        self._trained = [tensor.name for tensor in trained_tensors(layout)]
        if sections and parts.keeper is None:
            objective = parts.objective[0] if parts.objective else "none"
            raise TrainingError(
                f"the job's strategy needs the section {sections[0]!r} of updates, which the job's "
                f"objective ({objective}) does not make"
            )

    def terms(self, loaded: CachedTrainer) -> LocalTerms | None:
        """Return the terms that the trainer must add to its loss; None: none.

        Raises:
            PluginError: The trainer cannot add terms to its loss.
            TrainingError: The objective returned terms that do not fit the model.
        """
        if self._parts.objective is None:
            return None
        name, objective = self._parts.objective
        found = objective.terms(self._start)
        with _naming(f"objective {name!r}"):
            terms = checked_terms(found, self._start.base)
        if terms.empty:
            return None
        if not isinstance(loaded.trainer, UsesLocalTerms):
            raise PluginError(
                f"trainer {loaded.name} cannot add terms to its loss, which objective {name!r} "
                "needs: it has no method use_local_terms"
            )
        return terms

    @property
    def needs_steps(self) -> bool:
        """Whether `finish` uses the number of steps."""
        return self._parts.keeper is not None

    def finish(self, blob: bytearray, steps: int) -> NDArray[np.float32] | None:
        """Add the sections to an update, then transform its differences, in place.

        Return the agent's own arrays for its next round, as one section; None: it keeps none. The
        objective gets the differences before they are transformed.

        Raises:
            TrainingError: What a plug-in returned does not fit the model or the task.
        """
        views = writable_arrays(blob, self.update_layout)
        differences = {name: views[name] for name in self._trained}
        own = None
        if self._parts.keeper is not None:
            name, objective = self._parts.keeper
            end = objective.after(self._start, _read_only(differences), steps)
            with _naming(f"objective {name!r}"):
                end = checked_local_end(end, self._start.base, self._sections)
            own = join_section(end.own, self._layout) if end.own else None
            for section, arrays in end.sections.items():
                views[SECTION_PREFIX + section][:] = join_section(arrays, self._layout)
        if self._parts.transforms and differences:
            self._transform(differences, np.frombuffer(blob, np.uint8))
        return own

    def _transform(self, differences: Weights, memory: Array) -> None:
        """Overwrite the differences, whose memory this is, with transformed ones."""
        rng = np.random.default_rng((self._start.params.seed, 0, _TRANSFORM_SEED))
        update = _read_only(differences)
        for name, transform in self._parts.transforms:
            made = transform.transform_update(update, rng)
            with _naming(f"update transform {name!r}"):
                update = _read_only(checked_update(made, differences))
        # An array may be a view of another tensor's differences, which are overwritten below.
        apart = {
            name: array.copy() if np.may_share_memory(array, memory) else array
            for name, array in update.items()
        }
        for name, array in differences.items():
            np.copyto(array, apart[name])


def start_of(
    task: TrainTask, layout: Layout, weights: Weights, own: Array | None, state: Blob | None
) -> LocalStart:
    """Return what an objective knows before a training.

    Args:
        task: The task.
        layout: The model's.
        weights: Those of the base.
        own: The agent's own arrays as one section; None: zeros.
        state: The blob of the strategy's arrays that the task names; None: zeros.

    Raises:
        FedbusError: The blob of the arrays is damaged, or of another layout.
    """
    server: dict[str, Weights] = {name: _zeros(layout) for name in task.state_names}
    if task.state is not None and state is not None:
        check_digest(state, task.state)
        arrays = decode(state, state_layout(layout, task.state_names), "plain")
        server = {name: split_section(array, layout) for name, array in arrays.items()}
    return LocalStart(
        params=task.params,
        base=_read_only({tensor.name: weights[tensor.name] for tensor in trained_tensors(layout)}),
        own=_zeros(layout) if own is None else _read_only(split_section(own, layout)),
        server=server,
    )


@contextmanager
def _naming(part: str) -> Iterator[None]:
    """Put a plug-in's name before the reason why what it returned cannot be used."""
    try:
        yield
    except PluginError as error:
        raise TrainingError(f"{part}: {error}") from error


def _zeros(layout: Layout) -> Weights:
    """Return zeros that take no memory."""
    zero = np.float32(0)
    return {t.name: np.broadcast_to(zero, t.shape) for t in trained_tensors(layout)}


def _read_only(arrays: Weights) -> dict[str, Array]:
    views = {name: array.view() for name, array in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return views
