"""Speed of noise: seconds for a million normal numbers, and as a multiple of numpy's generator.

    python -m benchmarks.noise --numbers 1000000 --repetitions 5

`collector` is the noise of a round, from the collectors' key; `agent` that of the system's
generator; `numpy` is `numpy.random.default_rng().standard_normal`, which is not cryptographic.
`banded` is a round after `--steps` ledger entries, for each million numbers that it draws again.
Each figure is the least of the repetitions, in turn, so that a busy machine slows all of them.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from fedbus.privacy.banded import banded_noise, inverse_coefficients
from fedbus.privacy.noise import KeyedNoise
from fedbus.privacy.noise_key import NoiseKey
from fedbus.privacy.secret_noise import EphemeralNoise
from fedbus.training.params import PluginChoice
from fedbus.wire.privacy import NoiseStep
from fedbus.wire.strategies import Strategy

BANDS = 8


def sources(numbers: int, steps: int) -> Mapping[str, Callable[[], object]]:
    """Return what is measured, by name; each call draws the numbers once for each step."""
    entries = [
        NoiseStep(round=number, task=number, updates=f"{number:064x}")
        for number in range(1, steps + 1)
    ]
    strategy = Strategy(id="fedavg", aggregator=PluginChoice(id="mean"))
    keyed = KeyedNoise(NoiseKey(bytes(range(32))), "benchmark", entries, strategy)
    agent, plain = EphemeralNoise(), np.random.default_rng(0)
    inverse = inverse_coefficients(BANDS, steps)
    return {
        "numpy": lambda: plain.standard_normal(numbers),
        "collector": lambda: keyed.normals(0, numbers),
        "agent": lambda: agent.normals(numbers),
        "banded": lambda: banded_noise(lambda back: keyed.normals(0, numbers, back), inverse),
    }


def measured(numbers: int, steps: int, repetitions: int) -> dict[str, dict[str, float]]:
    """Return seconds for a million numbers, and the ratio to numpy's generator."""
    drawn = sources(numbers, steps)
    seconds = dict.fromkeys(drawn, np.inf)
    for _ in range(repetitions):
        for name, draw in drawn.items():
            began = time.perf_counter()
            draw()
            millions = numbers * (steps if name == "banded" else 1) / 1e6
            seconds[name] = min(seconds[name], (time.perf_counter() - began) / millions)
    return {
        name: {"seconds": each, "ratio": each / seconds["numpy"]} for name, each in seconds.items()
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--numbers", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=10, help="ledger entries of banded noise")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.parse_args()
    figures = measured(options.numbers, options.steps, options.repetitions)
    print(f"{'a million numbers':18}{'seconds':>10}{'ratio':>10}")
    for name, row in figures.items():
        print(f"{name:18}{row['seconds']:10.4f}{row['ratio']:10.2f}")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
