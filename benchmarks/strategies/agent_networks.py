"""Networks of several agents, trained together in numpy: dense layers with ReLU, plain SGD. Pure.

All agents have the same architecture, so one matrix product computes a layer of all of them. That
is what makes hundreds of trainings of small models take minutes instead of hours.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fedbus.model.layout import Layout, Tensor, Weights
from fedbus.training.local_terms import LocalTerms

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Stacked = dict[str, Floats]
"""Tensors of all agents by name, shape (agents, *shape)."""


def layout_of(widths: Sequence[int]) -> Layout:
    """Return the layout of dense layers: inputs, hidden units, classes."""
    tensors = []
    for number, (inputs, units) in enumerate(pairwise(widths)):
        tensors.append(Tensor(_weight(number), (inputs, units), "float32"))
        tensors.append(Tensor(_bias(number), (units,), "float32"))
    return Layout(tuple(tensors))


def initial_weights(widths: Sequence[int], rng: np.random.Generator) -> Weights:
    """Draw weights as K. He et al. 2015, arXiv 1502.01852."""
    weights: dict[str, Floats] = {}
    for number, (inputs, units) in enumerate(pairwise(widths)):
        drawn = rng.normal(0, np.sqrt(2 / inputs), (inputs, units))
        weights[_weight(number)] = drawn.astype(np.float32)
        weights[_bias(number)] = np.zeros(units, np.float32)
    return weights


def accuracy(weights: Weights, x: Floats, y: Rows) -> float:
    """Return the fraction of rows whose class is predicted."""
    layers = len(weights) // 2
    with np.errstate(over="ignore", invalid="ignore"):  # weights of a failed training
        for number in range(layers):
            x = x @ weights[_weight(number)] + weights[_bias(number)]
            if number < layers - 1:
                x = np.maximum(x, 0)
    return float((x.argmax(axis=1) == y).mean())


def train(  # noqa: PLR0913 - a model, data and an optimizer
    base: Weights,
    x: Floats,
    y: Rows,
    batches: Sequence[Rows],
    terms: Sequence[LocalTerms],
    *,
    learning_rate: float,
    momentum: float = 0.0,
) -> Stacked:
    """Train each agent from `base`; return the weights of all.

    Args:
        x: Shape (rows, inputs): the rows of all agents.
        y: Shape (rows,): classes.
        batches: Each agent's row numbers, shape (steps, batch); the batch is as large for all.
        terms: What each agent adds to its loss; `proximal` is the same for all.
    """
    order = sorted(range(len(batches)), key=lambda agent: -len(batches[agent]))
    steps = np.array([len(batches[agent]) for agent in order])
    weights = {name: np.repeat(array[None], len(order), axis=0) for name, array in base.items()}
    speed = {name: np.zeros_like(array) for name, array in weights.items()}
    linear = {
        name: np.stack([terms[agent].linear[name] for agent in order]).astype(np.float32)
        for name in terms[0].linear
    }
    proximal = np.float32(terms[0].proximal)
    for step in range(steps.max(initial=0)):
        active = int((steps > step).sum())
        rows = np.stack([batches[agent][step] for agent in order[:active]])
        views = {name: array[:active] for name, array in weights.items()}
        gradients = _gradients(views, x[rows], y[rows])
        for name, gradient in gradients.items():
            moved = speed[name][:active]
            moved *= np.float32(momentum)
            moved += gradient
            if name in linear:
                moved += linear[name][:active]
            if proximal:
                moved += proximal * (views[name] - base[name])
            views[name] -= np.float32(learning_rate) * moved
    place = np.argsort(order)
    return {name: array[place] for name, array in weights.items()}


def _gradients(weights: Mapping[str, Floats], x: Floats, y: Rows) -> Stacked:
    """Return the gradients of the mean cross-entropy. x: (agents, batch, inputs)."""
    layers = len(weights) // 2
    inputs = [x]
    for number in range(layers - 1):
        x = inputs[-1] @ weights[_weight(number)] + weights[_bias(number)][:, None]
        inputs.append(np.maximum(x, 0))
    last = layers - 1
    scores = inputs[-1] @ weights[_weight(last)] + weights[_bias(last)][:, None]
    scores -= scores.max(axis=2, keepdims=True)
    error = np.exp(scores)
    error /= error.sum(axis=2, keepdims=True)
    agents, batch = y.shape
    error[np.arange(agents)[:, None], np.arange(batch), y] -= 1
    error /= batch
    found: Stacked = {}
    for number in range(last, -1, -1):
        found[_weight(number)] = inputs[number].swapaxes(1, 2) @ error
        found[_bias(number)] = error.sum(axis=1)
        if number:
            error = error @ weights[_weight(number)].swapaxes(1, 2) * (inputs[number] > 0)
    return found


def _weight(number: int) -> str:
    return f"layers.{number}.weight"


def _bias(number: int) -> str:
    return f"layers.{number}.bias"
