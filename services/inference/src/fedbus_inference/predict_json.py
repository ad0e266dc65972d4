"""Predictions in TensorFlow Serving's JSON: rows as `instances`, or columns as `inputs`. Pure.

Rows are answered with `predictions`, columns with `outputs`. A model with several inputs takes an
object of named arrays in place of an array; one with several outputs answers so. What the outputs
mean (`answers`, `classes`, `probabilities`, `labels`) stands beside them, as in answers over a
topic.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pydantic_core import to_json

from fedbus.errors import WireError
from fedbus.model.layout import Array
from fedbus.wire.json_reader import read_json
from fedbus_inference.arrays import parse_array
from fedbus_inference.input_spec import InputSpec
from fedbus_inference.local_requests import PredictionOutcome
from fedbus_inference.payload_version import refuse_version

ONLY_ARRAY: Final = "inputs"
"""Name of an array that is sent without one."""
_SIGNATURE: Final = "serving_default"
_EXACT: Final = 2**53
"""Below it, a float64 has each whole number."""


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """A request, its arrays not yet compared with the model's inputs.

    Attributes:
        inputs: Arrays by name, rows first.
        as_rows: Whether the answer has one entry for each row.
    """

    inputs: Mapping[str, Array]
    as_rows: bool


def read_predict_request(body: bytes, max_elements: int) -> PredictRequest:
    """Read the body of a request.

    Numbers are read as float64, or, where they are whole and one does not fit, as integers.

    Raises:
        WireError: It is not such an object, or has no arrays of numbers.
    """
    stated = read_json(body, max_bytes=len(body))
    if not isinstance(stated, dict) or len({"instances", "inputs"} & stated.keys()) != 1:
        raise WireError('expected an object with "instances" (rows) or "inputs" (columns)')
    refuse_version(stated)
    if (signature := stated.get("signature_name", _SIGNATURE)) != _SIGNATURE:
        raise WireError(f"signature_name: expected {_SIGNATURE!r}, got {signature!r:.60}")
    if "inputs" in stated:
        return PredictRequest(_arrays(stated["inputs"], ONLY_ARRAY, max_elements), as_rows=False)
    rows = stated["instances"]
    if not isinstance(rows, list) or not rows:
        raise WireError('"instances": expected a list of at least one row')
    if isinstance(rows[0], dict):
        rows = _columns(rows)
    return PredictRequest(_arrays(rows, "instances", max_elements), as_rows=True)


def write_predict_answer(outcome: PredictionOutcome, *, as_rows: bool) -> bytes:
    """Write an answer; NaN and infinity become null, which JSON has in their place."""
    columns = {name: array.tolist() for name, array in outcome.outputs.items()}
    single = len(columns) == 1
    answer: dict[str, Any] = {"model": outcome.model, "version": outcome.version}
    if as_rows and single:
        (answer["predictions"],) = columns.values()
    elif as_rows:
        rows = zip(*columns.values(), strict=True)
        answer["predictions"] = [dict(zip(columns, row, strict=True)) for row in rows]
    elif single:
        (answer["outputs"],) = columns.values()
    else:
        answer["outputs"] = columns
    if outcome.answers is not None:
        answer["answers"] = outcome.answers
    for name, value in outcome.derived.items():
        answer[name] = value.tolist() if isinstance(value, np.ndarray) else value
    if outcome.warnings:
        answer["warnings"] = list(outcome.warnings)
    return to_json(answer, inf_nan_mode="null")


def _columns(rows: list[Any]) -> dict[str, list[Any]]:
    names = rows[0].keys()
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != names:
            raise WireError(
                f"instances[{number}]: expected an object with the names of instances[0]"
            )
    return {name: [row[name] for row in rows] for name in names}


def _arrays(stated: object, where: str, max_elements: int) -> dict[str, Array]:
    if not isinstance(stated, dict):
        return {ONLY_ARRAY: _array(stated, where, max_elements)}
    if "b64" in stated:
        raise WireError(f"{where}: bytes (b64) are not taken by any model here; send numbers")
    found: dict[str, Array] = {}
    for name, value in stated.items():
        left = max_elements - sum(array.size for array in found.values())
        found[name] = _array(value, f"{where}.{name[:64]}", left)
    return found


def _array(stated: object, where: str, max_elements: int) -> Array:
    leaf = stated
    while isinstance(leaf, list) and leaf:
        leaf = leaf[0]
    dtype = "bool" if isinstance(leaf, bool) else "float64"
    array = parse_array(stated, InputSpec(None, dtype), max_elements, where)
    if dtype == "float64" and np.abs(array).max() >= _EXACT:
        for whole in ("int64", "uint64"):
            with suppress(WireError):  # a fraction, or too large
                return parse_array(stated, InputSpec(None, whole), max_elements, where)
    return array
