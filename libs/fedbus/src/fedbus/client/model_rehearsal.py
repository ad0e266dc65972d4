"""Trial of a model before it is pushed: a training step and a prediction in each framework.

A model that fails at that would fail on every agent in every round. `.tflite` files are tried in a
child process, by `fedbus.client.model_file_check`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from sys import stderr
from typing import Any, Final, Protocol, cast, runtime_checkable

import numpy as np

from fedbus import plugins
from fedbus.client.model_outputs import row_of
from fedbus.client.packed_model import PackedModel
from fedbus.data import Dataset, from_arrays
from fedbus.data.model_input import has_several_inputs
from fedbus.errors import FedbusError, LayoutError, PluginError, TrainingError
from fedbus.frameworks.tensorflow_logs import suppressed_logs
from fedbus.model.blob import decode
from fedbus.model.layout import Array, Layout, Weights
from fedbus.plugins import Evaluates, Predicts, Trainer
from fedbus.training.params import TrainingParams
from fedbus.wire.documents import ModelSpec

REHEARSED: Final = ("keras", "torch")
ROWS: Final = 4
_STEP: Final = TrainingParams(batch_size=ROWS, learning_rate=1e-3, loss="mse", metrics=())


@runtime_checkable
class Guesses(Protocol):
    """A trainer that can propose shapes of input rows, where the spec has none."""

    def rows_to_try(self) -> Sequence[tuple[int, ...]]:
        """Return shapes of a row, the likeliest first."""
        ...


def rehearse(packed: PackedModel) -> Iterator[str]:
    """Train, evaluate and run a model once in each framework of its spec that is installed here.

    Yields:
        A warning for each framework with which the model was not tried, and why.

    Raises:
        TrainingError: the model does not train; names the framework and the cause.
        LayoutError: its weights differ from the spec's layout; names the tensor.
    """
    spec = packed.spec()
    if not spec.layout:
        return  # it only runs, and its file was tried when it was packed
    if has_several_inputs(spec.input):
        yield "it has several inputs: inference answers with it, and agents cannot train it"
        return
    weights = decode(packed.blobs[packed.push.weights.digest], Layout.read(spec.layout), "plain")
    for framework, architecture in spec.architectures.items():
        if framework not in REHEARSED:
            continue
        try:
            with suppressed_logs(), redirect_stdout(stderr):
                yield from _try(framework, spec, architecture, weights)
        except PluginError as error:
            why = str(error)
            if isinstance(error.__cause__, ModuleNotFoundError):
                why = f"{error.__cause__.name} is not installed here"
            yield f"its {framework} architecture was not tried: {why}"


def _try(
    framework: str, spec: ModelSpec, architecture: Mapping[str, Any], weights: Weights
) -> Iterator[str]:
    made: object = plugins.load("trainers", framework)(architecture)
    trainer = cast("Trainer", made)
    said = row_of(spec.input)
    guesses = made.rows_to_try() if isinstance(made, Guesses) else ()
    rows = [said] if said is not None else guesses
    reasons: list[str] = []
    for row in rows:
        try:
            _step(trainer, weights, row)
        except LayoutError as error:
            raise LayoutError(
                f"architectures.{framework}: its weights are not the spec's: {error}"
            ) from error
        except FedbusError as error:
            reasons.append(f"with rows of {_shown(row)}: {error}")
        else:
            return
    told = said is not None
    if told or any(_hopeless(reason) for reason in reasons):
        raise TrainingError(f"architectures.{framework}: it does not train {reasons[0]}")
    why = reasons[0] if reasons else "nothing says what a row looks like"
    yield (
        f"its {framework} architecture was not tried: {why}; give the shape of a row: "
        '"input" in the spec, or --input (in Python input_shape=)'
    )


def _step(trainer: Trainer, weights: Weights, row: tuple[int, ...]) -> None:
    x, answers = _answered(trainer, weights, row)
    data = from_arrays(x, answers + np.float32(0.1), ROWS)
    update = trainer.train(weights, _whole(data), _STEP)
    Layout.of(weights).check(update.weights)
    for name, array in update.weights.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise TrainingError(f"one step makes tensor {name!r} a number that is not finite")
    if isinstance(trainer, Evaluates):
        trainer.evaluate(weights, data, _STEP)


def _answered(
    trainer: Trainer, weights: Weights, row: tuple[int, ...]
) -> tuple[Array, np.ndarray[Any, np.dtype[np.float32]]]:
    """Return inputs with which the model predicts, numbers in 0 to 1 or zeros, and its outputs."""
    if not isinstance(trainer, Predicts):
        raise TrainingError("it answers nothing")
    trainer.load(weights)
    drawn = np.random.default_rng(0).random((ROWS, *row), np.float32)
    try:
        found = trainer.predict(drawn)
    except TrainingError:
        drawn = np.zeros((ROWS, *row), np.float32)
        found = trainer.predict(drawn)
    if isinstance(found, Mapping):
        names = ", ".join(found)
        raise TrainingError(
            f"it has {len(found)} outputs, {names}; agents train models of one output"
        )
    return drawn, np.asarray(found, np.float32)


def _whole(data: Dataset) -> Dataset:
    return data.with_stop(lambda: False)


def _hopeless(reason: str) -> bool:
    """Return whether no other shape of a row can prevent this error."""
    return any(words in reason for words in ("outputs", "positional argument", "not finite"))


def _shown(row: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, row))})"
