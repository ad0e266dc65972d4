"""Random numbers of a round that any node which knows its task can draw again. Pure.

A collector that computes a round a second time writes the same bytes, and so the same digests.
"""

import numpy as np

from fedbus.digest import digest_of


def round_rng(purpose: str, job: str, round_: int, task: int) -> np.random.Generator:
    """Return the generator of one purpose in one round of a job."""
    seed = digest_of(f"{purpose}\n{job}\n{round_}\n{task}".encode())
    return np.random.default_rng(int(seed, 16))
