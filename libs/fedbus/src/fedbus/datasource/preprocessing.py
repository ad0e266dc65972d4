"""Preprocessing of a model: the agents' transforms, from what a device reads to the model's input.

The steps are those of an agent's pipeline, by the same code. Steps that change labels alone are
left out, and augmentations are refused. Pure, but for the import of the transforms.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from fedbus.data.format import Field, Format
from fedbus.data.model_input import ModelInput, read_input
from fedbus.datasource.pipeline import Pipeline, read_steps
from fedbus.errors import TrainingError, WireError
from fedbus.model.layout import Array

_NO_TARGET: Final = Field(kind="categorical", size=(), dtype="int64")
"""The y of rows without labels: a zero for each."""


class Preprocessing:
    """Transforms of the rows of requests.

    Attributes:
        raw: What a request has.

    Raises:
        FedbusError: A step is not installed, not allowed, an augmentation, or does not take its
            parameters or the rows of the step before; or the result is not the model's input.
    """

    def __init__(
        self,
        steps: Sequence[Mapping[str, Any]],
        raw_input: Mapping[str, Any],
        model_input: Mapping[str, Any],
        allowed: Collection[str] | None = None,
    ) -> None:
        wanted = _only_input(model_input)
        self.raw = _raw_input(raw_input, wanted)
        read = read_steps([dict(step) for step in steps], allowed)
        if augmenting := [step for step in read if step.augments]:
            raise TrainingError(
                f"{augmenting[0].name} is an augmentation, for training only; leave it out of the "
                "preprocessing"
            )
        assert self.raw.row is not None  # noqa: S101 - by _raw_input
        self._pipeline = Pipeline(
            [step for step in read if not step.targets_only],
            Format(x=replace(self.raw.row, dtype=self.raw.dtype), y=_NO_TARGET),
        )
        if wanted.row is not None:
            self._pipeline.check_input(replace(wanted.row, dtype="", normalized=wanted.normalized))

    @property
    def max_row_bytes(self) -> int:
        """Return the size of a row between two steps, at most."""
        return self._pipeline.max_row_bytes

    def apply(self, rows: Array) -> Array:
        """Transform raw rows of (rows, …).

        Raw numbers outside a range of which inference warns only may be outside -1 to 1 after a
        step that normalizes.

        Raises:
            TrainingError: A step cannot transform the rows; the message names it.
        """
        batch = rows, np.zeros(len(rows), np.int64)
        rng = np.random.default_rng(0)
        return self._pipeline.apply(batch, rng, may_exceed=self._is_warned_of(rows))[0]

    def _is_warned_of(self, rows: Array) -> bool:
        if not self.raw.warns or self.raw.range is None:
            return False
        low, high = self.raw.range
        return bool(rows.min() < low or rows.max() > high)


def read_preprocessing(
    steps: Sequence[Mapping[str, Any]],
    raw_input: Mapping[str, Any],
    model_input: Mapping[str, Any],
    allowed: Collection[str] | None = None,
) -> Preprocessing | None:
    """Read the preprocessing of a spec; None if it has none. Raise as `Preprocessing` does."""
    if steps:
        return Preprocessing(steps, raw_input, model_input, allowed)
    if raw_input:
        raise TrainingError("raw_input is what `preprocessing` starts from, and there is none")
    return None


def _only_input(stated: Mapping[str, Any]) -> ModelInput:
    if "inputs" in stated:
        raise TrainingError("preprocessing is for models with one input, and this one has several")
    return _read("input", stated)


def _raw_input(stated: Mapping[str, Any], wanted: ModelInput) -> ModelInput:
    if stated:
        raw = _read("raw_input", stated)
        if raw.row is None:
            raise TrainingError('raw_input: expected the shape of a row, as {"shape": [28, 28, 1]}')
        return raw
    if wanted.row is None:
        raise TrainingError(
            "preprocessing needs the shape of a row: state it in `input` if the steps keep it, "
            "else in `raw_input`"
        )
    return ModelInput(row=replace(wanted.row, normalized=False))


def _read(where: str, stated: Mapping[str, Any]) -> ModelInput:
    try:
        return read_input(stated)
    except WireError as error:
        raise TrainingError(f"{where}: {error}") from error
