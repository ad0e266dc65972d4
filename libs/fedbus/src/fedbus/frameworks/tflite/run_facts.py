"""Function of a `.tflite` file that only runs: inputs, outputs, last operation. Pure.

Converters write such files: plain or quantized, with the weights inside, with a signature
`serving_default` or none.
"""

from dataclasses import dataclass
from typing import Final

from fedbus.errors import TrainingError
from fedbus.frameworks.outputs import OutputActivation
from fedbus.frameworks.tflite.signatures import SignatureFacts, TensorFacts, TfliteFacts
from fedbus.text import listed

PREFERRED: Final = ("serving_default", "infer")
"""Signatures that answer, in this order, where a file has several."""
_NUMBERS: Final = frozenset("biuf")
_SOFTMAX: Final = 25
_LOGISTIC: Final = 14


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The function of a file that answers.

    Attributes:
        signature: Its name; None: the first subgraph of a file without signatures.
        rows: How many rows it takes at once; -1: any number.
    """

    signature: str | None
    function: SignatureFacts
    rows: int

    @property
    def output_activation(self) -> OutputActivation | None:
        """Return the last operation of a file with one output; None for one with several."""
        if len(self.function.outputs) != 1:
            return None
        (output,) = self.function.outputs.values()
        return {_SOFTMAX: "softmax", _LOGISTIC: "sigmoid"}.get(output.operator, "scores")  # type: ignore[return-value] # mypy: these three words


def run_facts(facts: TfliteFacts) -> RunFacts:
    """Choose the function of a verified file that answers.

    Raises:
        TrainingError: It has several and none has a preferred name, or it takes or makes no arrays
            of numbers with a dimension of rows.
    """
    name = next((each for each in PREFERRED if each in facts.signatures), None)
    if name is None and facts.signatures:
        if len(facts.signatures) > 1:
            raise TrainingError(
                f"the .tflite file has the signatures {listed(facts.signatures)}; one of them must "
                f"be called {' or '.join(PREFERRED)} to answer"
            )
        (name,) = facts.signatures
    function = facts.main if name is None else facts.signatures[name]
    where = "the .tflite file" if name is None else f"the signature {name!r}"
    if not function.inputs or not function.outputs:
        raise TrainingError(f"{where} has no {'outputs' if function.inputs else 'inputs'}")
    for side, tensors in (("input", function.inputs), ("output", function.outputs)):
        for each, tensor in tensors.items():
            _check_tensor(f"{where}, {side} {each!r}", tensor)
    rows = {_open_shape(tensor)[0] for tensor in function.inputs.values()}
    if len(rows) > 1:
        raise TrainingError(
            f"{where}: its inputs differ in their first dimension, which must be the rows of all"
        )
    return RunFacts(name, function, rows.pop())


def check_runnable(facts: TfliteFacts) -> None:
    """Raise TrainingError for the file of a model that only runs, if it trains or cannot answer."""
    if facts.trains:
        raise TrainingError(
            "the .tflite file can be trained, and the spec has an empty layout: leave `layout` out,"
            " and push the file with the weights that it holds"
        )
    run_facts(facts)


def request_dtype(tensor: TensorFacts) -> str:
    """Return the dtype in which requests have an input: float32 for quantized numbers."""
    return "float32" if tensor.scale else tensor.dtype


def _open_shape(tensor: TensorFacts) -> tuple[int, ...]:
    return tensor.open_shape or tensor.shape


def _check_tensor(where: str, tensor: TensorFacts) -> None:
    if tensor.dtype == "no array" or tensor.dtype.startswith("complex"):
        raise TrainingError(f"{where}: expected numbers or Booleans")
    if not tensor.shape:
        raise TrainingError(f"{where}: expected a first dimension for rows, got a single number")
