"""The handwritten digits, dealt to agents as unevenly as life does; a part is kept from them all.

Only data preparation uses this file: `fedbus demo`, `fedbus up` and the examples. Agents read the
shards it writes and never import scikit-learn.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedbus.data.partition import hold_out, partition_rows
from fedbus.data.partition.spec import DEFAULT, named

SEED = 20
"""The split of the demo."""


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load scikit-learn's 1797 handwritten digits: x (1797, 64) from 0 to 1, y (1797,)."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - it triples a process's memory

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y.astype(np.int64)


def write_digits(
    folder: Path, agents: int, split: str = DEFAULT, seed: int = SEED, held_out: float = 0.2
) -> list[Path]:
    """Write `agent.1.npz` … `agent.N.npz` and `held_out.npz` (which only an evaluator may see).

    The same arguments write the same numbers; `split` is a sampler's name, as `named` reads it.

    Returns:
        The agents' shards, in order.

    Raises:
        SettingsError: there is no such sampler, or it takes no such option.
        TrainingError: there are more agents than digits, or the sampler cannot deal them so.
    """
    by, options = named(split)
    x, y = digits()
    rng = np.random.default_rng(seed)
    kept, held = hold_out(y, held_out, rng)
    min_rows = min(16, len(kept) // max(1, 2 * agents)) or 1
    partitions = partition_rows(by, y[kept], agents, rng, min_rows, options)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "held_out.npz", x=x[held], y=y[held])
    shards = [folder / f"agent.{number}.npz" for number in range(1, agents + 1)]
    for shard, partition in zip(shards, partitions, strict=True):
        np.savez(shard, x=x[kept[partition]], y=y[kept[partition]])
    return shards
