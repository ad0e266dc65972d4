"""Rounds of FedAvg in one process whose blobs are compressed as agents and collectors do it. Pure.

An agent's update is the difference to the version that it has read, the collector adds the mean to
the full version, and what a chain leaves out of an update stays with its agent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.compression.measured_chains import AGENTS, MeasuredChain, NetworkSetting
from benchmarks.strategies import agent_networks
from benchmarks.strategies.real_data import partitioned
from fedbus import compression
from fedbus.model.blob import decode, encode
from fedbus.model.layout import Array, Layout
from fedbus.training.local_terms import LocalTerms
from fedbus.wire.blobs import Compression


@dataclass(frozen=True, slots=True)
class CompressedRun:
    """Figures after each round: accuracy, the mean bytes of an update, and those of a version."""

    accuracies: Sequence[float]
    up: Sequence[float]
    down: Sequence[float]


def run_rounds(
    data: str, setting: NetworkSetting, chain: MeasuredChain, seed: int, rounds: int
) -> CompressedRun:
    """Run rounds; data, weights and batches depend on the setting and the seed alone."""
    parts = partitioned(data, setting.split, AGENTS, setting.batch_size, seed, tuning=False)
    layout = agent_networks.layout_of(setting.widths)
    full = dict(agent_networks.initial_weights(setting.widths, np.random.default_rng([seed, 0])))
    residuals = [
        {name: np.zeros_like(array) for name, array in full.items()} for _ in range(AGENTS)
    ]
    factors = np.array([len(rows) for rows in parts.agents], float)
    factors /= factors.sum()
    accuracies, up, down = [], [], []
    for number in range(1, rounds + 1):
        rng = np.random.default_rng([seed, number])
        base, size = _sent(full, layout, chain.down, rng, "plain")
        down.append(size)
        batches = [_batches(rows, setting, rng) for rows in parts.agents]
        trained = agent_networks.train(
            base, parts.x, parts.y, batches, [LocalTerms()] * AGENTS,
            learning_rate=setting.learning_rate,
        )  # fmt: skip
        sizes = []
        for agent, factor in enumerate(factors):
            kept = residuals[agent]
            intended = {name: trained[name][agent] - base[name] + kept[name] for name in base}
            read, size = _sent(intended, layout, chain.up, rng, "delta")
            sizes.append(size)
            for name, array in full.items():
                full[name] = array + np.float32(factor) * read[name]
                if chain.residuals:
                    kept[name] = intended[name] - read[name]
        up.append(float(np.mean(sizes)))
        accuracies.append(agent_networks.accuracy(full, parts.test_x, parts.test_y))
    return CompressedRun(accuracies, up, down)


def _sent(
    arrays: Mapping[str, Array],
    layout: Layout,
    steps: Compression,
    rng: np.random.Generator,
    content: compression.Content,
) -> tuple[Mapping[str, Array], int]:
    """Return what a receiver reads, and the bytes that are sent."""
    if not steps:
        return arrays, len(encode(arrays, layout, content))
    made = compression.encode(arrays, layout, steps, rng, content=content)
    read = compression.decode(made, layout, steps, content=content)
    return decode(read, layout, content), len(made)


def _batches(
    rows: NDArray[np.int64], setting: NetworkSetting, rng: np.random.Generator
) -> NDArray[np.int64]:
    size = setting.batch_size
    whole = len(rows) // size * size
    passes = [rng.permutation(rows)[:whole].reshape(-1, size) for _ in range(setting.epochs)]
    return np.concatenate(passes)
