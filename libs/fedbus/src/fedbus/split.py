"""Deal a data set to agents as unevenly as life does, and keep a part that none of them sees.

Only data preparation uses this file: `fedbus demo`, `fedbus up` and the examples. Agents read the
shards it writes and never import scikit-learn.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import TrainingError
from fedbus.layout import Array

SEED = 20
"""The split of the demo."""

Rows = NDArray[np.int64]


def hold_out(labels: Array, share: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Split row numbers in two, class by class; returns (kept, held out), both shuffled."""
    kept, held = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cut = round(share * len(rows))
        held.append(rows[:cut])
        kept.append(rows[cut:])
    return rng.permutation(np.concatenate(kept)), rng.permutation(np.concatenate(held))


def dirichlet(
    labels: Array, agents: int, alpha: float, rng: np.random.Generator, least: int = 1
) -> list[Rows]:
    """Deal row numbers to agents: each class in shares drawn from Dirichlet(alpha).

    The smaller `alpha`, the fewer classes an agent sees. Nobody goes without: the richest give
    until everyone has `least` rows.

    Args:
        labels: The class of every row, shape (rows,).
        agents: How many there are.
        alpha: How even the shares are, above 0.
        rng: All the chance there is.
        least: The rows that everyone gets.

    Returns:
        For each agent its rows, shuffled; together they are all rows, each once.

    Raises:
        TrainingError: there are not enough rows for everyone.
    """
    if agents < 1 or least * agents > len(labels):
        raise TrainingError(f"{len(labels)} rows for {agents} agents of at least {least} each")
    hands: list[list[int]] = [[] for _ in range(agents)]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(agents, alpha))
        cuts = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(int)
        for hand, part in zip(hands, np.split(rows, cuts), strict=True):
            hand.extend(part.tolist())
    for hand in hands:
        while len(hand) < least:
            richest = max(hands, key=len)
            hand.append(richest.pop(int(rng.integers(len(richest)))))
    return [rng.permutation(np.array(hand, np.int64)) for hand in hands]


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load scikit-learn's 1797 handwritten digits: x (1797, 64) from 0 to 1, y (1797,)."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - it triples a process's memory

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y.astype(np.int64)


def write_digits(
    folder: Path, agents: int, alpha: float = 0.3, seed: int = SEED, held_out: float = 0.2
) -> list[Path]:
    """Write `agent.1.npz` … `agent.N.npz` and `held_out.npz` (which only an evaluator may see).

    The same arguments write the same numbers.

    Returns:
        The agents' shards, in order.

    Raises:
        TrainingError: there are more agents than digits.
    """
    x, y = digits()
    rng = np.random.default_rng(seed)
    kept, held = hold_out(y, held_out, rng)
    least = min(16, len(kept) // max(1, 2 * agents)) or 1
    hands = dirichlet(y[kept], agents, alpha, rng, least)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "held_out.npz", x=x[held], y=y[held])
    shards = [folder / f"agent.{number}.npz" for number in range(1, agents + 1)]
    for shard, hand in zip(shards, hands, strict=True):
        np.savez(shard, x=x[kept[hand]], y=y[kept[hand]])
    return shards
