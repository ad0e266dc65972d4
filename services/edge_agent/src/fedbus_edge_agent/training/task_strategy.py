"""The agent's half of a strategy in one task: terms, sections, transforms, privacy mechanism."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import PluginError, PrivacyError, TrainingError
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
from fedbus.plugins import LocalStart, PrivateTraining, StatesBound, UsesLocalTerms
from fedbus.plugins.agent_part_checks import (
    checked_local_end,
    checked_protection,
    checked_terms,
    checked_update,
)
from fedbus.training.local_terms import LocalTerms
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.checks import check_digest, check_finite
from fedbus_edge_agent.training.local_strategy import LocalStrategy
from fedbus_edge_agent.training.residuals import add_residual
from fedbus_edge_agent.training.trainer_cache import CachedTrainer

_TRANSFORM_SEED = 2
"""Makes the chance of update transforms another than that of shuffling and of data transforms."""


@dataclass(frozen=True, slots=True)
class FinishedUpdate:
    """What is left of a training beside its update.

    Attributes:
        own: The agent's own arrays for its next round, as one section; None: it keeps none.
        norm_bit: What the privacy mechanism sends beside the update; None: nothing.
    """

    own: NDArray[np.float32] | None = None
    norm_bit: float | None = None


class TaskStrategy:
    """The parts of a job's strategy at work in one training.

    Args:
        parts: The plug-ins.
        start: What the objective knows before the training.
        layout: The model's.
        sections: Names of the arrays that the update must have beside the differences.
        private: What the privacy mechanism knows; needed if there is one.
        residual: What compression left out of the update before, as one section; None: nothing.

    Raises:
        TrainingError: No part makes a section.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the last three are for some jobs only
        self,
        parts: LocalStrategy,
        start: LocalStart,
        layout: Layout,
        sections: Sequence[str] = (),
        private: PrivateTraining | None = None,
        residual: NDArray[np.float32] | None = None,
    ) -> None:
        self.update_layout = update_layout(layout, sections)
        self._parts = parts
        self._start = start
        self._layout = layout
        self._sections = sections
        self._private = private
        self._residual = residual
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

    @property
    def public_bound(self) -> float | None:
        """The greatest number of a protected difference that its mechanism makes likely.

        It follows from the job's parameters and the state's numbers, not from the agent's data.
        None: the mechanism states none, or there is none.
        """
        if self._parts.mechanism is None or self._private is None:
            return None
        _, mechanism = self._parts.mechanism
        if not isinstance(mechanism, StatesBound):
            return None
        return mechanism.public_bound(self._private.numbers)

    def finish(self, blob: bytearray, steps: int) -> FinishedUpdate:
        """Add the sections to an update, transform its differences, protect them; all in place.

        The objective gets the differences before they are transformed. Then the residual is added,
        and the privacy mechanism gets the sum: what was left out of an update before is protected
        again. If this raises, the update is not protected, and must not leave the agent.

        Raises:
            TrainingError: What a plug-in returned does not fit the model or the task, or the update
                has no finite norm.
        """
        views = writable_arrays(blob, self.update_layout)
        differences = {name: views[name] for name in self._trained}
        own, norm_bit = None, None
        if self._parts.keeper is not None:
            name, objective = self._parts.keeper
            end = objective.after(self._start, _read_only(differences), steps)
            with _naming(f"objective {name!r}"):
                end = checked_local_end(end, self._start.base, self._sections)
            own = join_section(end.own, self._layout) if end.own else None
            for section, arrays in end.sections.items():
                views[SECTION_PREFIX + section][:] = join_section(arrays, self._layout)
        memory = np.frombuffer(blob, np.uint8)
        if self._parts.transforms and differences:
            _overwrite(differences, self._transformed(differences), memory)
        add_residual(differences, self._residual, self._layout)
        if self._parts.mechanism is not None:
            norm_bit = self._protect(differences, memory)
        return FinishedUpdate(own, norm_bit)

    def _transformed(self, differences: Weights) -> Weights:
        rng = np.random.default_rng((self._start.params.seed, 0, _TRANSFORM_SEED))
        update = _read_only(differences)
        for name, transform in self._parts.transforms:
            made = transform.transform_update(update, rng)
            with _naming(f"update transform {name!r}"):
                update = _read_only(checked_update(made, differences))
        return update

    def _protect(self, differences: Weights, memory: Array) -> float | None:
        """Overwrite the differences with protected ones, and return the norm bit."""
        if self._parts.mechanism is None or self._private is None:
            raise PrivacyError("the task has a privacy mechanism without a source of noise")
        name, mechanism = self._parts.mechanism
        check_finite(differences)
        made = mechanism.protect(_read_only(differences), self._private)
        with _naming(f"privacy mechanism {name!r}"):
            made = checked_protection(made, differences)
        _overwrite(differences, made.update, memory)
        return made.norm_bit


def _overwrite(differences: Weights, changed: Weights, memory: Array) -> None:
    """Overwrite differences, whose memory this is, with changed ones."""
    # An array may be a view of another tensor's differences, which are overwritten below.
    apart = {
        name: array.copy() if np.may_share_memory(array, memory) else array
        for name, array in changed.items()
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
