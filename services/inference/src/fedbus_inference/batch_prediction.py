"""Predictions for the parsed inputs of several requests, whatever protocol they came by. Pure.

They are predicted as one batch. If that fails, each is predicted alone, so that no request is
refused because of another one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fedbus.errors import WireError
from fedbus.frameworks.outputs import derived_outputs
from fedbus.wire.output_kinds import OutputKind
from fedbus_inference.arrays import to_raw
from fedbus_inference.inputs import Inputs
from fedbus_inference.served_version import ONLY_OUTPUT, ModelOutputs, NamedArrays, ServedVersion

if TYPE_CHECKING:
    from fedbus.model.layout import Array


@dataclass(frozen=True, slots=True)
class PredictedOutputs:
    """A model's outputs for the rows of one request, and what follows from them.

    Attributes:
        outputs: Arrays of (rows, …) by name; `ONLY_OUTPUT` where the framework gives no name.
        is_named: Whether the framework gave the names.
        output_kind: What the outputs mean, where the model spec states it.
        derived: `probabilities` (an array), `classes` or `labels` (a list with one entry for each
            row), where they follow from the outputs.
        warnings: What the caller should know about the inputs.
    """

    model: str
    version: int
    outputs: NamedArrays
    is_named: bool = False
    output_kind: OutputKind | None = None
    derived: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_answer(self, *, as_raw: bool) -> dict[str, Any]:
        """Return the fields of an answer, with arrays raw or as nested lists."""
        write: Callable[[Array], Any] = to_raw if as_raw else np.ndarray.tolist
        answer: dict[str, Any] = {"model": self.model, "version": self.version}
        if self.is_named:
            answer["outputs"] = {name: write(each) for name, each in self.outputs.items()}
        else:
            answer["outputs"] = write(self.outputs[ONLY_OUTPUT])
            if self.output_kind is not None:
                answer["answers"] = self.output_kind
        for name, each in self.derived.items():
            answer[name] = write(each) if isinstance(each, np.ndarray) else each
        if self.warnings:
            answer["warnings"] = list(self.warnings)
        return answer


@dataclass(frozen=True, slots=True)
class PredictionFailure:
    """A request that the model could not answer.

    Attributes:
        sentence: For the caller.
        reason: Of the model's failure, for the log; empty if the inputs are at fault.
    """

    sentence: str
    reason: str = ""


PredictionResult: TypeAlias = PredictedOutputs | PredictionFailure


def predict_batch(
    served: ServedVersion, requests: Sequence[Inputs], max_elements: int
) -> list[PredictionResult]:
    """Predict for each request; requests of at most `max_elements` numbers together at once."""
    if len(requests) > 1 and _fit_together(requests, max_elements):
        try:
            return list(_predict_together(served, requests))
        except Exception:  # noqa: BLE001, S110 - a plug-in may raise anything; the loop reports it
            pass
    return [_predict_alone(served, request) for request in requests]


def _fit_together(requests: Sequence[Inputs], max_elements: int) -> bool:
    alike = {
        tuple((name, array.shape[1:], array.dtype.str) for name, array in request.arrays.items())
        for request in requests
    }
    return len(alike) == 1 and sum(request.elements for request in requests) <= max_elements


def _predict_together(
    served: ServedVersion, requests: Sequence[Inputs]
) -> Iterator[PredictionResult]:
    names = requests[0].arrays
    joined = {name: np.concatenate([each.arrays[name] for each in requests]) for name in names}
    found = served.predict(served.prepare(joined))
    derived = _derive(served, found)
    first = 0
    for request in requests:
        rows = slice(first, first + request.rows)
        yield _prediction(served, found, derived, rows, request.warnings)
        first = rows.stop


def _predict_alone(served: ServedVersion, request: Inputs) -> PredictionResult:
    try:
        try:
            prepared = served.prepare(request.arrays)
        except WireError as error:
            return PredictionFailure(str(error))
        found = served.predict(prepared)
        rows = slice(0, request.rows)
        return _prediction(served, found, _derive(served, found), rows, request.warnings)
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; callers get the message
        reason = f"{type(error).__name__}: {error}"
        sentence = f"version {served.version} could not answer: {reason}"
        return PredictionFailure(sentence, reason)


def _derive(served: ServedVersion, found: ModelOutputs) -> dict[str, Any]:
    if found.is_named:
        return {}
    only = found.arrays[ONLY_OUTPUT]
    return derived_outputs(only, served.output_kind, served.output_activation, served.classes)


def _prediction(
    served: ServedVersion,
    found: ModelOutputs,
    derived: Mapping[str, Any],
    rows: slice,
    warnings: tuple[str, ...],
) -> PredictedOutputs:
    return PredictedOutputs(
        served.model,
        served.version,
        {name: array[rows] for name, array in found.arrays.items()},
        found.is_named,
        None if found.is_named else served.output_kind,
        {name: each[rows] for name, each in derived.items()},
        warnings,
    )
