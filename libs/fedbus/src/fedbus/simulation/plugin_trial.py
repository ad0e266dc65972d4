"""Trial of a plug-in on a few rows of generated data, and a report of what it did."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import numpy as np

from fedbus.data import Dataset, describe, format_of, from_arrays
from fedbus.errors import PluginError
from fedbus.model.layout import Layout, Weights
from fedbus.plugins.discovery import Group
from fedbus.plugins.protocols import AgentInfo
from fedbus.plugins.trainer_protocols import Evaluates, Predicts, Trainer
from fedbus.simulation.strategy_trial import try_part, try_strategy
from fedbus.training.params import Architecture, TrainingParams, Update

ROWS: Final = 8
AGENTS: Final = 5
_SMALLEST_MATRIX: Final = 2


@dataclass(frozen=True, slots=True)
class TrialInputs:
    """Inputs of a trial.

    Attributes:
        architecture: A trainer's architecture as in a model spec, a model's config, or the
            parameters of a transform or of a strategy's part.
        name: The name of the entry point, for error messages.
        weights: Initial weights; None: the trainer's own.
        data: Training data; None: generated rows that fit the first and last array of the weights.
        path: The path that a loader reads.
    """

    architecture: Architecture
    name: str = "it"
    weights: Weights | None = None
    data: Dataset | None = None
    path: str | None = None


def try_plugin(group: Group, made: Any, props: TrialInputs) -> Iterator[str]:  # noqa: ANN401 - a plug-in
    """Try what a plug-in's entry point names; yield a sentence for each thing that it did.

    Raises:
        PluginError: the plug-in violated its protocol.
        Exception: any exception of the plug-in.
    """
    match group:
        case "trainers":
            yield from _trainer(made(props.architecture), props)
        case "runtimes":
            yield from _runtime(made(props.architecture), props)
        case "models":
            yield f"made a {type(made(props.architecture)).__name__} of {dict(props.architecture)}"
        case "loaders":
            yield from _loader(made, props)
        case "selectors":
            yield from _selector(made)
        case "transforms":
            yield from _transform(made, props)
        case "strategies":
            yield from try_strategy(props.name, props.architecture)
        case _:
            yield from try_part(group, props.name, made, props.architecture)


def _trainer(trainer: Trainer, props: TrialInputs) -> Iterator[str]:
    weights = props.weights if props.weights is not None else trainer.initial()
    layout = Layout.of(weights)
    yield f"initial: {len(layout.tensors)} arrays, {layout.numbers} numbers"
    data = props.data if props.data is not None else generated_rows(weights)
    params = TrainingParams(batch_size=ROWS, steps_per_epoch=1, learning_rate=0.01)
    before = {name: array.copy() for name, array in weights.items()}
    update = trainer.train(weights, data.with_stop(lambda: False), params)
    _check_update(layout, update)
    if not _same(before, weights):
        raise PluginError("train: it changed the weights that it was given; train on copies")
    moved = sum(float(np.abs(update.weights[n] - before[n]).sum()) for n in before)
    yield f"train: one step moved the weights by {moved:.4g}; metrics {_formatted(update.metrics)}"
    again = trainer.train(weights, data.with_stop(lambda: False), params)
    if not _same(update.weights, again.weights):
        yield "train: the same step gave other weights when repeated; such a job cannot be replayed"
    if isinstance(trainer, Evaluates):
        yield f"evaluate: {_formatted(trainer.evaluate(update.weights, data, params))}"
    else:
        yield "evaluate: not implemented; its models are compared by their training metrics"
    if isinstance(trainer, Predicts):
        yield from _predictions(trainer, update.weights, data)


def _runtime(runtime: Predicts, props: TrialInputs) -> Iterator[str]:
    if props.weights is None:
        yield "the runtime was made; use --model SPEC.json to load weights and predict"
        return
    data = props.data if props.data is not None else generated_rows(props.weights)
    yield from _predictions(runtime, props.weights, data)


def _predictions(runtime: Predicts, weights: Weights, data: Dataset) -> Iterator[str]:
    runtime.load(weights)
    inputs = next(data.peek())[0]
    found = runtime.predict(inputs)
    several = found if isinstance(found, Mapping) else {"": found}
    for name, each in several.items():
        answers, what = np.asarray(each), f"predict: {name}: " if name else "predict: "
        if answers.shape[:1] != inputs.shape[:1]:
            raise PluginError(
                f"{what}expected one output for each row of {inputs.shape}, got {answers.shape}"
            )
        yield f"{what}{answers.dtype} {answers.shape} for {inputs.shape}"


def _loader(load: Any, props: TrialInputs) -> Iterator[str]:  # noqa: ANN401 - a plug-in
    if props.path is None:
        yield "the loader was found; use --data PATH to read data with it"
        return
    data = load(props.path)
    if not isinstance(data, Dataset):
        raise PluginError(f"expected a fedbus.Dataset, got a {type(data).__name__}")
    yield f"{props.path}: {data.examples} examples, {describe(data)}"


def _transform(make: Any, props: TrialInputs) -> Iterator[str]:  # noqa: ANN401 - a plug-in
    # Imported here, since `pipeline` imports the plug-ins.
    from fedbus.datasource.pipeline import Pipeline, PipelineStep, check_call  # noqa: PLC0415

    parameters = dict(props.architecture)
    check_call(make, parameters)
    data = props.data if props.data is not None else _images()
    step = PipelineStep("it", make(**parameters))
    pipeline = Pipeline([step], format_of(data))
    yield f"format: {pipeline.formats[0].x} becomes {pipeline.output.x}"
    batch = next(data.peek())
    before = [part.copy() for part in batch]
    x, y = pipeline.apply(batch, np.random.default_rng(0))
    if not all(map(np.array_equal, before, batch)):
        raise PluginError("transform_data: it changed the rows that it was given; work on copies")
    yield f"data: {len(x)} rows of x {x.dtype} {x.shape[1:]} and y {y.dtype} {y.shape[1:]}"
    again = pipeline.apply(batch, np.random.default_rng(0))
    if not all(map(np.array_equal, (x, y), again)):
        yield "the same random seed gave other rows: such a job cannot be replayed"


def _images() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (ROWS, 8, 8, 3)).astype(np.float32)
    return from_arrays(x, rng.integers(0, 10, ROWS), ROWS)


def _selector(select: Any) -> Iterator[str]:  # noqa: ANN401 - a plug-in
    agents = [
        AgentInfo(agent=f"agent.{n}", last_selected=n % 3, examples=10 * n, load=n / 10)
        for n in range(1, 2 * AGENTS + 1)
    ]
    chosen = list(select(agents, AGENTS, Random(0)))
    foreign = sorted(set(chosen) - {info.agent for info in agents})
    if foreign or len(set(chosen)) != len(chosen) or len(chosen) > AGENTS:
        raise PluginError(
            f"it selected {chosen}: expected at most {AGENTS} of the given agents, each once"
        )
    yield f"selected {len(chosen)} of {len(agents)} agents: {', '.join(chosen)}"
    if list(select(agents, AGENTS, Random(0))) != chosen:
        yield "the same random seed gave another selection: such a job cannot be replayed"


def generated_rows(weights: Weights) -> Dataset:
    """Generate rows for a model whose first matrix takes the inputs and last array the classes.

    Raises:
        PluginError: no array is a matrix, so the width of a row is unknown.
    """
    arrays = list(weights.values())
    matrix = next((a for a in arrays if a.ndim == _SMALLEST_MATRIX), None)
    if matrix is None:
        raise PluginError("no tensor is a matrix, so rows cannot be generated: use --data FILE.npz")
    rng = np.random.default_rng(0)
    x = rng.random((ROWS, matrix.shape[0]), np.float32)
    return from_arrays(x, rng.integers(0, arrays[-1].shape[-1], ROWS), ROWS)


def _check_update(layout: Layout, update: object) -> None:
    if not isinstance(update, Update):
        raise PluginError(f"train: expected a fedbus.Update, got a {type(update).__name__}")
    layout.check(update.weights)
    if wrong := [n for n, array in update.weights.items() if not np.isfinite(array).all()]:
        raise PluginError(
            "train: expected finite weights after one step, got NaN or infinity in "
            f"{', '.join(wrong)}"
        )


def _same(one: Weights, other: Weights) -> bool:
    return all(np.array_equal(array, other[name]) for name, array in one.items())


def _formatted(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()) or "none"
