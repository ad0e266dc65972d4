"""Try a plug-in for real, on little and made-up data, and say what it did."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import numpy as np

from fedbus.data import Dataset, describe, format_of, of
from fedbus.errors import PluginError
from fedbus.model.layout import Layout, Weights
from fedbus.plugins.discovery import Group
from fedbus.plugins.protocols import AgentInfo, Aggregator, Evaluates, Predicts, Trainer
from fedbus.training.params import Architecture, TrainingParams, Update

ROWS: Final = 8
AGENTS: Final = 5
NUMBERS: Final = 1000
_SMALLEST_MATRIX: Final = 2


@dataclass(frozen=True, slots=True)
class Props:
    """What a trial is given.

    Attributes:
        architecture: What a model's spec would say for this trainer, a model's config, a
        transform's
            parameters.
        weights: Those to begin with; a trainer's own first ones without.
        data: What to train on; rows that fit the first and last array of the weights without.
        path: What a loader reads.
    """

    architecture: Architecture
    weights: Weights | None = None
    data: Dataset | None = None
    path: str | None = None


def attempt(group: Group, made: Any, props: Props) -> Iterator[str]:  # noqa: ANN401 - anybody's
    """Try what a plug-in's entry point names; each sentence says what it did.

    Raises:
        PluginError: it did what its protocol does not allow.
        Exception: whatever the plug-in raises.
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
        case "aggregators":
            yield from _aggregator(made)
        case "selectors":
            yield from _selector(made)
        case "transforms":
            yield from _transform(made, props)


def _trainer(trainer: Trainer, props: Props) -> Iterator[str]:
    weights = props.weights if props.weights is not None else trainer.initial()
    layout = Layout.of(weights)
    yield f"initial: {len(layout.tensors)} arrays, {layout.numbers} numbers"
    data = props.data if props.data is not None else made_up(weights)
    params = TrainingParams(batch_size=ROWS, steps_per_epoch=1, learning_rate=0.01)
    before = {name: array.copy() for name, array in weights.items()}
    update = trainer.train(weights, data.watched(lambda: False), params)
    _check_update(layout, update)
    if not _same(before, weights):
        raise PluginError("train: it changed the weights it was given; train on copies")
    moved = sum(float(np.abs(update.weights[n] - before[n]).sum()) for n in before)
    yield f"train: one step moved the weights by {moved:.4g}; metrics {_figures(update.metrics)}"
    again = trainer.train(weights, data.watched(lambda: False), params)
    if not _same(update.weights, again.weights):
        yield "train: the same step again gave other weights; a job of this cannot be replayed"
    if isinstance(trainer, Evaluates):
        yield f"evaluate: {_figures(trainer.evaluate(update.weights, data, params))}"
    else:
        yield "evaluate: it cannot; its models are scored by what they say when training"
    if isinstance(trainer, Predicts):
        yield from _predictions(trainer, update.weights, data)


def _runtime(runtime: Predicts, props: Props) -> Iterator[str]:
    if props.weights is None:
        yield "it was made; give --model SPEC.json to have it load weights and answer"
        return
    data = props.data if props.data is not None else made_up(props.weights)
    yield from _predictions(runtime, props.weights, data)


def _predictions(runtime: Predicts, weights: Weights, data: Dataset) -> Iterator[str]:
    runtime.load(weights)
    inputs = next(data.peek())[0]
    found = runtime.predict(inputs)
    several = found if isinstance(found, Mapping) else {"": found}
    for name, each in several.items():
        answers, what = np.asarray(each), f"predict: {name}: " if name else "predict: "
        if answers.shape[:1] != inputs.shape[:1]:
            raise PluginError(f"{what}{answers.shape} for {inputs.shape}; one answer for each row")
        yield f"{what}{answers.dtype} {answers.shape} for {inputs.shape}"


def _loader(load: Any, props: Props) -> Iterator[str]:  # noqa: ANN401 - anybody's
    if props.path is None:
        yield "it was found; give --data PATH to have it read something"
        return
    data = load(props.path)
    if not isinstance(data, Dataset):
        raise PluginError(f"it returned a {type(data).__name__}, not a fedbus.Dataset")
    yield f"{props.path}: {data.examples} examples, {describe(data)}"


def _transform(make: Any, props: Props) -> Iterator[str]:  # noqa: ANN401 - anybody's
    # Imported here, since pipelines find their steps among plug-ins.
    from fedbus.datasource.pipeline import Pipeline, Step, check_call  # noqa: PLC0415

    parameters = dict(props.architecture)
    check_call(make, parameters)
    data = props.data if props.data is not None else _pictures()
    step = Step("it", make(**parameters))
    pipeline = Pipeline([step], format_of(data))
    yield f"format: {pipeline.forms[0].x} becomes {pipeline.output.x}"
    batch = next(data.peek())
    before = [part.copy() for part in batch]
    x, y = pipeline.change(batch, np.random.default_rng(0))
    if not all(map(np.array_equal, before, batch)):
        raise PluginError("transform_data: it changed the rows it was given; work on copies")
    yield f"data: {len(x)} rows of x {x.dtype} {x.shape[1:]} and y {y.dtype} {y.shape[1:]}"
    again = pipeline.change(batch, np.random.default_rng(0))
    if not all(map(np.array_equal, (x, y), again)):
        yield "the same chance gave other rows: a job of this cannot be replayed"


def _pictures() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (ROWS, 8, 8, 3)).astype(np.float32)
    return of(x, rng.integers(0, 10, ROWS), ROWS)


def _aggregator(made: Aggregator) -> Iterator[str]:
    rng = np.random.default_rng(0)
    blocks = rng.normal(size=(AGENTS, NUMBERS)).astype(np.float32)
    total = np.zeros(NUMBERS, np.float64)
    for block in blocks:
        kept = block.copy()
        made.fold(total, block, 1 / AGENTS)
        if not np.array_equal(kept, block):
            raise PluginError("fold: it changed the block it was given")
    if not np.isfinite(total).all():
        raise PluginError("fold: expected finite numbers in the total, got NaN or infinity")
    off = float(np.abs(total - blocks.mean(axis=0)).max())
    yield f"aggregated {AGENTS} blocks of {NUMBERS} numbers, at most {off:.3g} from their mean"


def _selector(select: Any) -> Iterator[str]:  # noqa: ANN401 - anybody's
    agents = [
        AgentInfo(agent=f"agent.{n}", last_selected=n % 3, examples=10 * n, load=n / 10)
        for n in range(1, 2 * AGENTS + 1)
    ]
    chosen = list(select(agents, AGENTS, Random(0)))
    foreign = sorted(set(chosen) - {info.agent for info in agents})
    if foreign or len(set(chosen)) != len(chosen) or len(chosen) > AGENTS:
        raise PluginError(f"it chose {chosen}: at most {AGENTS} of those it was given, each once")
    yield f"chose {len(chosen)} of {len(agents)} agents: {', '.join(chosen)}"
    if list(select(agents, AGENTS, Random(0))) != chosen:
        yield "the same chance gave another choice: a job of this cannot be replayed"


def made_up(weights: Weights) -> Dataset:
    """Make rows for a net whose first matrix takes the inputs and whose last array is the classes.

    Raises:
        PluginError: no array is a matrix, so nothing says how wide a row is.
    """
    arrays = list(weights.values())
    matrix = next((a for a in arrays if a.ndim == _SMALLEST_MATRIX), None)
    if matrix is None:
        raise PluginError("no weight is a matrix, so rows cannot be made up: give --data FILE.npz")
    rng = np.random.default_rng(0)
    x = rng.random((ROWS, matrix.shape[0]), np.float32)
    return of(x, rng.integers(0, arrays[-1].shape[-1], ROWS), ROWS)


def _check_update(layout: Layout, update: object) -> None:
    if not isinstance(update, Update):
        raise PluginError(f"train: it returned a {type(update).__name__}, not a fedbus.Update")
    layout.check(update.weights)
    if wrong := [n for n, array in update.weights.items() if not np.isfinite(array).all()]:
        raise PluginError(f"train: {', '.join(wrong)} is not finite after one step")


def _same(one: Weights, other: Weights) -> bool:
    return all(np.array_equal(array, other[name]) for name, array in one.items())


def _figures(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()) or "none"
