"""Cost of encrypted updates: bytes a parameter, seconds to encrypt, add and decrypt, and the error.

    python -m benchmarks.encryption --parameters 1000000 --agents 5

`plain` is the sum of float32 arrays, in the same run; the column `ratio` is the time for all agents
and one decryption as a multiple of it. `error` is the largest difference of the decrypted mean from
that of the whole numbers (BFV, where it must be 0) or of the floats in units of the range (CKKS).
Seconds are those of one agent's update; the sum is computed in its own process, as at a collector.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from fedbus.encryption.ciphertext_sums import SumProcess
from fedbus.encryption.encrypt import decrypt_version, encrypt_update
from fedbus.encryption.encrypted_blob import EncryptedHeader, planned_header
from fedbus.encryption.encryption_terms import encryption_terms
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import choose_parameters
from fedbus.model.fixed_point import from_fixed_point, to_fixed_point
from fedbus.model.layout import Array, Layout
from fedbus.wire.encryption import FixedPoint

Figures = dict[str, float]

CASES: Final[dict[str, dict[str, Any]]] = {
    "bfv, 11 bits": {"bits": 11},
    "bfv, 16 bits": {"bits": 16},
    "ckks": {"scheme": "ckks"},
}
MOST_AGENTS: Final = 100
"""Agents that the keys are made for."""


@dataclass
class Stopwatch:
    """Adds up seconds by name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the seconds of a block."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def updates(parameters: int, agents: int) -> list[dict[str, Array]]:
    """Return updates with numbers of -1 to 1."""
    return [
        {"all": np.random.default_rng(seed).uniform(-1, 1, parameters).astype(np.float32)}
        for seed in range(agents)
    ]


def measured(case: dict[str, Any], deltas: list[dict[str, Array]]) -> Figures:
    """Return the figures of one scheme with one number of bits."""
    layout, agents = Layout.of(deltas[0]), len(deltas)
    key = SecretKey.generate(choose_parameters(agents=MOST_AGENTS, **case))
    bits = case.get("bits", 11)
    terms = encryption_terms(
        key.id, key.parameters, FixedPoint(bits=bits, max_agents=MOST_AGENTS, max_examples=1)
    )
    header = planned_header(terms, layout, anchor="0" * 64, ranges=(0,), max_examples=1)
    watch, sizes = Stopwatch(), []
    with TemporaryDirectory(prefix="fedbus-bench-") as name:
        folder = Path(name)
        key.public.save(folder / "public.key")
        process, total = SumProcess(folder / "public.key"), None
        for seed, delta in enumerate(deltas):
            with watch.measure("encrypt"):
                blob = encrypt_update(delta, layout, header, 1, key, np.random.default_rng(seed))
            sizes.append(len(blob))
            (folder / "update").write_bytes(blob)
            # The first addition starts the process, and is not measured.
            with watch.measure("add" if total else "start"):
                process.add(total, folder / "update", folder / "sum", header)
            total = folder / "sum"
        process.close()
        summed = (folder / "sum").read_bytes()
        with watch.measure("decrypt"):
            found = decrypt_version(summed, layout, key)
    return {
        "bytes": max(sizes) / layout.numbers,
        "sum_bytes": len(summed) / layout.numbers,
        "encrypt_seconds": watch.seconds["encrypt"] / agents,
        "add_seconds": watch.seconds.get("add", 0.0) / max(agents - 1, 1),
        "decrypt_seconds": watch.seconds["decrypt"],
        "error": float(np.abs(found["all"] - expected(header, layout, deltas)).max()),
    }


def expected(header: EncryptedHeader, layout: Layout, deltas: list[dict[str, Array]]) -> Array:
    """Return the mean that must be decrypted."""
    if header.scheme == "ckks":
        mean: Array = np.mean([delta["all"].astype(np.float64) for delta in deltas], axis=0)
        return mean
    total = np.zeros(layout.numbers, np.uint64)
    for seed, delta in enumerate(deltas):
        rng = np.random.default_rng(seed)
        total += to_fixed_point(delta, layout, header.ranges, header.bits, 1.0, rng)
    means = from_fixed_point(
        total, layout, header.ranges, header.bits, len(deltas), float(len(deltas))
    )
    return means["all"]


def plain_seconds(deltas: list[dict[str, Array]]) -> float:
    """Return the least seconds of three sums of the updates, as float32."""
    least = np.inf
    for _ in range(3):
        began = time.perf_counter()
        total = np.zeros_like(deltas[0]["all"])
        for delta in deltas:
            total += delta["all"]
        least = min(least, time.perf_counter() - began)
    return least


def main() -> None:
    """Print a table; exit with an error if a sum is not the one expected."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--agents", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.parse_args()
    deltas = updates(options.parameters, options.agents)
    plain = plain_seconds(deltas)
    figures: dict[str, Figures] = {"plain": {"bytes": 4.0, "sum_seconds": plain}}
    heads = ("bytes", "sum bytes", "encrypt s", "add s", "decrypt s", "error", "ratio")
    print(f"{'':14}" + "".join(f"{head:>11}" for head in heads))
    for name, case in CASES.items():
        row = measured(case, deltas)
        spent = options.agents * (row["encrypt_seconds"] + row["add_seconds"])
        row["ratio"] = (spent + row["decrypt_seconds"]) / plain
        figures[name] = row
        print(f"{name:14}" + "".join(f"{each:11.4g}" for each in row.values()))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    wrong = [n for n, row in figures.items() if row.get("error", 0) > 1e-4 * n.startswith("ckks")]
    if wrong:
        sys.exit(f"these sums are wrong: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
