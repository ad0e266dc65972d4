"""Statements of a caller about a pushed model's input: its preprocessing, its range of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from fedbus.data.json_or_file import error_prefix, read_json_or_file
from fedbus.data.model_input import OUT_OF_RANGE, read_inputs
from fedbus.datasource.preprocessing import read_preprocessing
from fedbus.errors import SettingsError, TrainingError, WireError
from fedbus.wire.documents import ModelSpec

_SHAPE_KEYS: Final = ("shape", "data_types", "x")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTerms:
    """What the caller states about a model's input.

    Attributes:
        preprocessing: Transforms from raw rows to the model's input: JSON, a list of `{"id",
            "parameters"}`, or a file with it, as an agent's pipeline.
        raw_input: The format of raw rows: JSON, as a spec's `input`, or a file with it; needed if
            the transforms change the shape.
        range: Lowest and highest number of a (raw) row in the training data.
        out_of_range: What inference does with other numbers: refuse, the default, or warn.
    """

    preprocessing: str | Path | None = None
    raw_input: str | Path | None = None
    range: tuple[float, float] | None = None
    out_of_range: str | None = None


NO_INPUT_TERMS = InputTerms()


def complete_input(spec: ModelSpec, said: InputTerms) -> ModelSpec:
    """Return a spec with what the caller states about its input; it goes before the spec's own.

    Raises:
        SettingsError: The options do not go together, or the model has several inputs.
        FedbusError: A transform does not take its parameters, or the input of the step before it,
            or makes something else than the model's input; the message names the step.
    """
    if said.preprocessing is not None:
        spec = replace(spec, preprocessing=_read_list(said.preprocessing))
    if said.raw_input is not None:
        spec = replace(spec, raw_input=_read_object(said.raw_input))
    if said.out_of_range is not None and said.out_of_range not in OUT_OF_RANGE:
        raise SettingsError(f"--out-of-range: expected {' or '.join(OUT_OF_RANGE)}")
    if said.range is not None or said.out_of_range is not None:
        spec = _with_range(spec, said)
    for where, stated in (("input", spec.input), ("raw_input", spec.raw_input)):
        try:
            read_inputs(stated)
        except WireError as error:
            raise SettingsError(f"{where}: {error}") from error
    read_preprocessing(spec.preprocessing, spec.raw_input, spec.input)
    return spec


def _with_range(spec: ModelSpec, said: InputTerms) -> ModelSpec:
    if "inputs" in spec.input:
        raise SettingsError("--range: the model has several inputs; state each range in its spec")
    raw = bool(spec.preprocessing)
    before = spec.raw_input if raw else spec.input
    if raw and not before:  # the raw rows have the shape of the model's input
        before = _not_normalized({k: v for k, v in spec.input.items() if k in _SHAPE_KEYS})
    half = before["x"] if isinstance(before.get("x"), Mapping) else before
    if said.range is None and "range" not in half:
        raise SettingsError("--out-of-range: of which range? --range states it")
    stated = dict(half)
    if said.range is not None:
        stated["range"] = list(said.range)
    if said.out_of_range is not None:
        stated["out_of_range"] = said.out_of_range
    whole = stated if half is before else {**before, "x": stated}
    return replace(spec, raw_input=whole) if raw else replace(spec, input=whole)


def _not_normalized(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return a format without what is true of the model's input alone: dtype and normalization."""
    return {
        key: _not_normalized(value) if isinstance(value, Mapping) else value
        for key, value in stated.items()
        if key not in {"dtype", "normalized"}
    }


def _read_list(given: str | Path) -> tuple[dict[str, Any], ...]:
    plain = read_json_or_file(given)
    if not isinstance(plain, list) or not all(isinstance(step, dict) for step in plain):
        raise TrainingError(
            f"{error_prefix(given)}expected a list of objects with id and parameters"
        )
    return tuple(plain)


def _read_object(given: str | Path) -> dict[str, Any]:
    plain = read_json_or_file(given)
    if not isinstance(plain, dict):
        raise TrainingError(f'{error_prefix(given)}expected an object, as {{"shape": [28, 28, 1]}}')
    return plain
