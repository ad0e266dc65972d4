"""Input of a model: what a caller states of it at a push, and the description of a stored one."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from fedbus.data.json_or_file import error_prefix, read_json_or_file
from fedbus.data.model_input import ONLY_INPUT, OUT_OF_RANGE, ModelInput, read_inputs
from fedbus.datasource.preprocessing import read_preprocessing
from fedbus.errors import SettingsError, TrainingError, WireError
from fedbus.wire.documents import ModelSpec

_SHAPE_KEYS: Final = ("shape", "data_types", "x")
_OWN_KEYS: Final = ("dtype", "normalized", "range", "out_of_range")
"""Keys of the model's input that say nothing of raw rows."""


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
            inputs = read_inputs(stated)
        except WireError as error:
            raise SettingsError(f"{where}: {error}") from error
        for each in inputs.values():
            _check_normalized_range(where, each)
    read_preprocessing(spec.preprocessing, spec.raw_input, spec.input)
    return spec


def _check_normalized_range(where: str, found: ModelInput) -> None:
    """Reject a range that goes beyond the numbers that an input states it has."""
    if found.normalized and found.range and not -1 <= found.range[0] < found.range[1] <= 1:
        low, high = found.range
        raise SettingsError(
            f"{where} is normalized to -1 to 1, and its range is {low:g} to {high:g}; a range of "
            "raw rows needs the steps that normalize them: --preprocessing"
        )


def _with_range(spec: ModelSpec, said: InputTerms) -> ModelSpec:
    if "inputs" in spec.input:
        raise SettingsError("--range: the model has several inputs; state each range in its spec")
    raw = bool(spec.preprocessing)
    before = spec.raw_input if raw else spec.input
    if raw and not before:  # the raw rows have the shape of the model's input
        before = _raw_of(spec.input)
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


def _raw_of(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the format of raw rows that have the shape of the model's input, and no more of it."""
    return _without_own({key: value for key, value in stated.items() if key in _SHAPE_KEYS})


def _without_own(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return a format without what is true of the model's input alone."""
    return {
        key: _without_own(value) if isinstance(value, Mapping) else value
        for key, value in stated.items()
        if key not in _OWN_KEYS
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


def describe_inputs(spec: ModelSpec) -> tuple[str, ...]:
    """Format what a model takes, in lines: raw rows, the preprocessing, and the model's own rows.

        [64] float32, 0 to 16; inference refuses other numbers
        then normalize {"high": 16}
        then [64] float32, normalized

    Without preprocessing there is one line for each input. An input that this version of fedbus
    cannot read is formatted as JSON.
    """
    if not spec.preprocessing:
        return tuple(_described(spec.input))
    # Inference compares raw rows with their range, and not what the steps make of them.
    own = tuple(_described(spec.input, with_range=False))
    return (
        *(_described(spec.raw_input) if spec.raw_input else _described(_raw_of(spec.input))),
        *(f"then {_step_text(step)}" for step in spec.preprocessing),
        *(f"then {line}" for line in own),
    )


def _described(stated: Mapping[str, Any], *, with_range: bool = True) -> Iterator[str]:
    """Format the inputs that a spec's `input` or `raw_input` states, in a line each."""
    if not stated:
        yield "rows of a shape that the spec does not state"
        return
    try:
        read = read_inputs(stated)
    except WireError:
        yield json.dumps(stated, ensure_ascii=False)
        return
    for name, each in read.items():
        text = _input_text(each if with_range else replace(each, range=None))
        yield text if name == ONLY_INPUT else f"{name}: {text}"


def _input_text(taken: ModelInput) -> str:
    text = f"{'any shape' if taken.row is None else list(taken.row.size)} {taken.dtype}"
    if taken.normalized:
        text += ", normalized"
    if taken.range is not None:
        low, high = taken.range
        action = "answers other numbers with a warning" if taken.warns else "refuses other numbers"
        text += f", {low:g} to {high:g}; inference {action}"
    return text


def _step_text(step: Mapping[str, Any]) -> str:
    parameters = step.get("parameters")
    name = str(step.get("id"))
    return f"{name} {json.dumps(parameters, ensure_ascii=False)}" if parameters else name
