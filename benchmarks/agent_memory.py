"""Peak resident memory of agents with TFLite while they make updates smaller, or hide them.

    python -m benchmarks.agent_memory

A cluster of processes runs one job for each way on the digits. The kernel begins to count the peak
again with each job; the table has the largest of all agents. Exit code 1: with a transmitter it is
above `--limit`. Encryption and masks load packages of their own, and are shown beside.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import fedbus
from benchmarks.digits_cluster import digits_cluster
from benchmarks.measure import peak_mb, publish
from fedbus.cluster.members import EVALUATOR
from fedbus.cluster.registry import RunningCluster
from fedbus.encryption.parameters import choose_parameters
from fedbus.wire.identifiers import role_of

LIMIT_MB: Final = 90.0
_BEGIN_PEAK_AGAIN: Final = "5"
"""What /proc/PID/clear_refs understands so."""


def _sent(*steps: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"transmitter": [*steps], **more}


WAYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "plain": {},
    "cast": _sent("cast"),
    "quantize": _sent("quantize"),
    "top-k": _sent("top-k"),
    "random-k": _sent("random-k"),
    "zstandard": _sent("zstandard"),
    "top-k, quantize, zstandard": _sent("top-k", "quantize", "zstandard"),
    "quantize, zstandard, both ways": _sent(
        "quantize", "zstandard", download=["quantize", "zstandard"]
    ),
    "adaptive-freezing": _sent("adaptive-freezing"),
    "adaptive-sync": _sent("adaptive-sync"),
    "masks, 16 bits": {"privacy-mechanisms": {"secure-aggregation": {"bits": 16}}},
    "BFV, 11 bits": {"privacy-mechanisms": {"homomorphic": {"bits": 11}}},
}


def begin_peaks_again(pids: list[int]) -> None:
    """Reset the peaks that the kernel counts for processes."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text(_BEGIN_PEAK_AGAIN, encoding="ascii")


async def measured(here: RunningCluster, agents: int, rounds: int) -> list[dict[str, Any]]:
    """Run all jobs; return the peak of each."""
    pids = [pid for node, pid in here.processes.items() if role_of(node) == "agent"]
    pids.remove(here.processes[f"agent.{EVALUATOR}"])
    rows = []
    async with fedbus.connect(cluster=here.home) as fed:
        for number, (name, way) in enumerate(WAYS.items()):
            begin_peaks_again(pids)
            wanted = {"agents": agents, "quorum": agents, "deadline_seconds": 60}
            job = {
                "training_id": f"way-{number}",
                "model_name": "digits",
                "num_rounds": rounds,
                "round": wanted,
            }
            async for state in fed.watch(await fed.submit({**job, **way})):
                last = state
            if last.phase != "finished":
                sys.exit(f"{name}: {last.phase}: {last.reason}")
            rows.append({"updates": name, "peak_mb": max(map(peak_mb, pids))})
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=LIMIT_MB, help="MB of 1e6 bytes")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is stdout")
    options = parser.parse_args()
    with digits_cluster(
        options.agents, "tflite", keys=choose_parameters(agents=options.agents)
    ) as here:
        rows = asyncio.run(measured(here, options.agents, options.rounds))
    publish({"benchmark": "agent memory", "rows": rows}, rows, options.json)
    limited = [row for row in rows if "transmitter" in WAYS[row["updates"]]]
    above = [row["updates"] for row in limited if row["peak_mb"] > options.limit]
    if above:
        sys.exit(f"above {options.limit:g} MB: {', '.join(above)}")


if __name__ == "__main__":
    main()
