"""Handwritten digits of scikit-learn, partitioned among agents, with a held-out part.

Only data preparation uses this module: `fedbus demo`, `fedbus up` and the examples. Agents read the
files that it writes, and do not import scikit-learn.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedbus.data.partition import partition_rows
from fedbus.data.partition.row_assignment import hold_out
from fedbus.data.partition.spec import DEFAULT, parse_split

SEED = 20
"""Seed of the demo's partitions."""


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load scikit-learn's 1797 handwritten digits: x (1797, 64) in [0, 1], y (1797,)."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - it triples a process's memory

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y.astype(np.int64)


def write_digits(
    folder: Path, agents: int, split: str = DEFAULT, seed: int = SEED, held_out: float = 0.2
) -> list[Path]:
    """Write `agent.1.npz` … `agent.N.npz`, and `held_out.npz` for the evaluator.

    The same arguments give the same files; `split` names a sampler (see `parse_split`).

    Returns:
        The agents' files, in order.

    Raises:
        SettingsError: the sampler or an option is unknown.
        TrainingError: there are more agents than digits, or the sampler rejects an option.
    """
    by, options = parse_split(split)
    x, y = digits()
    rng = np.random.default_rng(seed)
    kept, held = hold_out(y, held_out, rng)
    min_rows = min(16, len(kept) // max(1, 2 * agents)) or 1
    partitions = partition_rows(by, y[kept], agents, rng, min_rows, options)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "held_out.npz", x=x[held], y=y[held])
    files = [folder / f"agent.{number}.npz" for number in range(1, agents + 1)]
    for file, partition in zip(files, partitions, strict=True):
        np.savez(file, x=x[kept[partition]], y=y[kept[partition]])
    return files
