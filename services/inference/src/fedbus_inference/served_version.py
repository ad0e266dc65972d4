"""Version of a model that is ready to answer: named input arrays to named output arrays. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

import numpy as np

from fedbus.errors import FedbusError, TrainingError, WireError
from fedbus.frameworks.outputs import OutputActivation, to_probabilities
from fedbus.model.layout import DTYPES, Array, dtype_name
from fedbus.plugins import PredictsNamed
from fedbus.wire.output_kinds import OutputKind
from fedbus_inference.input_spec import InputSpec

if TYPE_CHECKING:
    from fedbus.datasource.preprocessing import Preprocessing

NamedArrays: TypeAlias = Mapping[str, Array]
"""Arrays by the name of the input or output, each of shape (rows, …)."""
MAX_PREPARED_BYTES: Final = 2**30
"""Of the rows of one batch between two steps of a preprocessing."""
ONLY_OUTPUT: Final = "outputs"
"""Name of a model's output where the framework gives it none."""


class Predictor(Protocol):
    """A model with its weights; used by one thread at a time.

    It may have an attribute `output_activation`, a `fedbus.frameworks.outputs.OutputActivation`,
    and `is_steady`: whether the numbers in its inputs do not decide how long a prediction takes.
    """

    def predict(self, inputs: Array) -> Array | NamedArrays:
        """Return one output for each row, or several outputs by their names in the framework."""
        ...


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """An output of one example, as a prediction of zeros showed it."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """Outputs of a batch.

    Attributes:
        arrays: By name; a single output without one is called `ONLY_OUTPUT`.
        is_named: Whether the framework gave the names.
    """

    arrays: NamedArrays
    is_named: bool


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """One version of a model, ready to answer.

    Attributes:
        inputs: What one example consists of, by name; before the preprocessing.
        outputs: What one example is answered with, by name; empty where it is not known.
        output_kind: What the outputs mean, where the model spec states it.
        classes: Names of the classes or labels; () means numbers.
        spec_digest: Digest of the model spec.
        weights_bytes: Size of the weights.
        weights_digest: Digest of the weights.
        preprocessing: The model's own transforms, from what a device reads to the model's input.
    """

    model: str
    version: int
    inputs: Mapping[str, InputSpec]
    predictor: Predictor
    output_kind: OutputKind | None = None
    classes: tuple[str, ...] = ()
    spec_digest: str = ""
    weights_bytes: int = 0
    weights_digest: str = ""
    outputs: Mapping[str, OutputSpec] = field(default_factory=dict)
    preprocessing: "Preprocessing | None" = None

    @property
    def output_activation(self) -> OutputActivation | None:
        """Return the model's last operation; None if the predictor does not state it."""
        return cast("OutputActivation | None", getattr(self.predictor, "output_activation", None))

    @property
    def is_steady(self) -> bool:
        """Return whether rows of one shape always take about the same time."""
        return bool(getattr(self.predictor, "is_steady", True))

    def prepare(self, inputs: NamedArrays) -> NamedArrays:
        """Return checked inputs as the model takes them.

        Raises:
            WireError: A transform refuses the inputs, or they are too large for it.
            TrainingError: A transform of a plug-in is at fault: it raised another error than
                FedbusError, or returned another number of rows.
        """
        if self.preprocessing is None:
            return inputs
        ((name, rows),) = inputs.items()
        size = len(rows) * self.preprocessing.max_row_bytes
        if size > MAX_PREPARED_BYTES:
            raise WireError(
                f"inputs: {len(rows)} examples have {size} bytes in the model's preprocessing; "
                f"at most {MAX_PREPARED_BYTES}: send fewer examples"
            )
        try:
            return {name: self.preprocessing.apply(rows)}
        except TrainingError as error:
            inputs_at_fault = isinstance(error.__cause__, FedbusError)
            kind = WireError if inputs_at_fault else TrainingError
            raise kind(f"the model's preprocessing: {error}") from error

    def predict(self, inputs: NamedArrays) -> ModelOutputs:
        """Return outputs for prepared inputs of (rows, …).

        Raises:
            TrainingError: There is not one output for each row, or the model takes one input only.
            Exception: Any error of a framework or plug-in.
        """
        rows = len(next(iter(inputs.values())))
        found = self._call(inputs)
        if isinstance(found, Mapping):
            arrays = {name: _check_outputs(np.asarray(each), rows) for name, each in found.items()}
            return ModelOutputs(arrays, is_named=True)
        only = _check_outputs(np.asarray(found), rows)
        only = to_probabilities(only, self.output_kind, self.output_activation)
        return ModelOutputs({ONLY_OUTPUT: only}, is_named=False)

    def _call(self, inputs: NamedArrays) -> Array | NamedArrays:
        if len(inputs) == 1:
            return self.predictor.predict(next(iter(inputs.values())))
        if not isinstance(self.predictor, PredictsNamed):
            raise TrainingError(
                f"the spec declares {len(inputs)} inputs, and this runtime gives its models one: "
                "it has no method `predict_named`"
            )
        return self.predictor.predict_named(inputs)


def _check_outputs(outputs: Array, rows: int) -> Array:
    if dtype_name(outputs.dtype) not in DTYPES or outputs.shape[:1] != (rows,):
        raise TrainingError(
            f"the model: expected one output for each of {rows} examples, "
            f"got {outputs.dtype} of shape {outputs.shape}"
        )
    return outputs
