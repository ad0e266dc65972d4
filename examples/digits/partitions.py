"""Partition the digits: an `agent.N.npz` for each agent, `held_out.npz` for the evaluator.

    python examples/digits/partitions.py FOLDER [AGENTS [SPLIT]]

SPLIT is a sampler of `fedbus data split`, such as dirichlet:0.3 (the default) or label-quantity:2.

A partition is an .npz file with `x`, shape (rows, 64), float32 from 0 to 1, and `y`, shape (rows,),
int64. Write your own data in this form, and the loader `npz` reads it.
"""

import sys
from pathlib import Path

import numpy as np

from fedbus.data import npz
from fedbus.data.digits import write_digits


def main(folder: str, agents: str = "8", split: str = "dirichlet:0.3") -> None:
    """Write the partitions, and print how many rows of each digit they have."""
    for partition in write_digits(Path(folder), int(agents), split):
        labels = np.concatenate([y for _, y in npz(str(partition)).batches()])
        counts = np.bincount(labels, minlength=10)
        print(f"{partition}  {len(labels):4} rows  of each digit: {' '.join(map(str, counts))}")
    print(f"{Path(folder) / 'held_out.npz'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
