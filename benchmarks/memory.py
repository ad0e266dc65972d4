"""Memory growth of long runs: resident size, descriptors and threads of each service.

    python -m benchmarks.memory --count 2000 --json FILE

A cluster started with `fedbus up --http` runs `--count` rounds of one job, then as many jobs of one
round each, then as many refused requests of each kind (each with a new name); a service's shell
connects as many times. Each step is preceded by a fifth of it as a warm-up; resident memory after
the warm-up is compared with that at the end. Exit code 1: it grew by more than `--limit` MB.
"""

import argparse
import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.connections import reconnect
from benchmarks.digits_cluster import digits_cluster
from benchmarks.measure import MB, publish
from fedbus.cluster.registry import RunningCluster
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Bus, Packet
from fedbus.wire import codec
from fedbus.wire.documents import ENDED_PHASES, JobState
from fedbus.wire.topic_names import address
from fedbus.wire.topics import CANCEL, INFERENCE, JOB_STATE, ROOT, SUBMIT

STEP_SECONDS = 60.0
"""Time without progress after which the benchmark fails."""
LIMIT_MB = 5.0
IN_TURN = 20
"""Refused requests in flight at a time."""
REPLY = f"{ROOT}/replies/memory"


@dataclass(frozen=True)
class Measured:
    """Resources of a process at one time."""

    rss: float
    descriptors: int
    threads: int


def measured(pid: int) -> Measured:
    """Measure a process."""
    folder = Path(f"/proc/{pid}")
    told = dict(
        line.split(":", 1)
        for line in (folder / "status").read_text(encoding="ascii").splitlines()
        if ":" in line
    )
    return Measured(
        rss=int(told["VmRSS"].split()[0]) * 1024 / MB,
        descriptors=len(os.listdir(folder / "fd")),  # noqa: PTH208 - only counted
        threads=int(told["Threads"]),
    )


def all_of(here: RunningCluster) -> dict[str, Measured]:
    """Measure each process of a cluster."""
    return {node: measured(pid) for node, pid in sorted(here.processes.items())}


# ── the workloads ─────────────────────────────────────────────────────────────────────────────────


class Workload:
    """The workloads that a user causes in a cluster.

    Args:
        here: The cluster.
        bus: A connection with the user's login, subscribed to the states of all jobs.
        count: The number of repetitions between the two measurements.
    """

    def __init__(self, here: RunningCluster, bus: Bus, count: int) -> None:
        self._here, self._bus, self._count = here, bus, count
        self.warm_up = max(1, count // 5)

    async def rounds(self) -> dict[str, Any]:
        """Run one job of many rounds."""
        await self._submit("long", self.warm_up + self._count)
        await self._until("long", self.warm_up)
        before = all_of(self._here)
        await self._until("long", None)
        return compared(before, all_of(self._here))

    async def jobs(self) -> dict[str, Any]:
        """Run many jobs of one round."""
        before: dict[str, Measured] = {}
        for number in range(self.warm_up + self._count):
            if number == self.warm_up:
                before = all_of(self._here)
            await self._submit(f"short-{number}", 1)
            await self._until(f"short-{number}", None)
        return compared(before, all_of(self._here))

    async def refused(self) -> dict[str, Any]:
        """Send requests that are refused, each with a new name and reply topic."""
        before: dict[str, Measured] = {}
        for number in range(0, self.warm_up + self._count, IN_TURN):
            if number // IN_TURN == self.warm_up // IN_TURN:
                before = all_of(self._here)
            wanted = [packet for n in range(number, number + IN_TURN) for packet in bad_packets(n)]
            for packet in wanted:
                await self._bus.publish(packet)
            await asyncio.to_thread(self._knock, range(number, number + IN_TURN))
            await self._answers(len(wanted))
        return compared(before, all_of(self._here))

    def _knock(self, numbers: range) -> None:
        """Request unknown paths of each HTTP server."""
        for number in numbers:
            for door in self._here.http.values():
                for path in (f"/nothing-{number}", f"/job/status/unknown-{number}", "/metrics"):
                    with (
                        suppress(urllib.error.HTTPError),
                        urllib.request.urlopen(f"http://{door}{path}", timeout=30) as answer,
                    ):
                        answer.read()

    async def _answers(self, count: int) -> None:
        async with asyncio.timeout(STEP_SECONDS):
            while count > 0:
                count -= sum("/replies/" in packet.topic for packet in await self._bus.receive())

    async def _submit(self, job: str, count: int) -> None:
        config = [{"batch_size": 256, "epochs": 1, "learning_rate": 0.05}]
        file = {
            "training_id": job,
            "model_name": "digits",
            "num_rounds": count,
            "config": config,
            "round": {"agents": self._here.agents - 1, "deadline_seconds": 60},
        }
        await self._bus.publish(Packet(f"{ROOT}/{SUBMIT.pattern}", json.dumps(file).encode()))

    async def _until(self, job: str, number: int | None) -> None:
        """Wait for a round of a job, or for its end."""
        topic = address(ROOT, JOB_STATE, job=job)
        while True:
            async with asyncio.timeout(STEP_SECONDS):
                packets = await self._bus.receive()
            for packet in packets:
                if packet.topic == topic and packet.payload:
                    state = codec.from_json(JobState, packet.payload)
                    if state.phase in {"failed", "cancelled"}:
                        sys.exit(f"{job} {state.phase}: {state.reason}")
                    if state.phase in ENDED_PHASES or (
                        number is not None and state.round >= number
                    ):
                        return


def bad_packets(number: int) -> Iterator[Packet]:
    """Return requests that are refused: three by inference, two by the controller."""
    reply = f"{REPLY}-{number}"

    def packet(topic: str, payload: bytes) -> Packet:
        return Packet(
            topic,
            payload,
            content_type="application/json",
            response_topic=reply,
            correlation=b"%d" % number,
        )

    digits = address(ROOT, INFERENCE, model="digits")
    yield packet(address(ROOT, INFERENCE, model=f"nothing-{number}"), b'{"inputs": [[0]]}')
    yield packet(digits, b'{"inputs": [[%d]]}' % number)
    yield packet(digits, b"{" * (1 + number % 100))
    job = {"training_id": f"bad-{number}", f"key-{number}": 1}
    yield packet(f"{ROOT}/{SUBMIT.pattern}", json.dumps(job).encode())
    yield packet(f"{ROOT}/{CANCEL.pattern}", b"unknown-%d" % number)


def compared(
    before: Mapping[str, Measured], after: Mapping[str, Measured]
) -> dict[str, dict[str, float]]:
    """Compare two measurements of each process."""
    return {
        node: {
            "before_mb": round(was.rss, 2),
            "after_mb": round(after[node].rss, 2),
            "grown_mb": round(after[node].rss - was.rss, 2),
            "descriptors": after[node].descriptors - was.descriptors,
            "threads": after[node].threads - was.threads,
        }
        for node, was in before.items()
        if node in after
    }


async def run_workload(here: RunningCluster, what: str, count: int) -> dict[str, Any]:
    """Run one workload, and measure before and after."""
    topics = [f"{ROOT}/jobs/+/state", f"{ROOT}/replies/#"]
    name = f"{here.address.username}"
    async with mqtt.connect(here.address, name=name, listen=topics) as bus:
        found: dict[str, Any] = await getattr(Workload(here, bus, count), what)()
        return found


async def connections(here: RunningCluster, count: int) -> dict[str, Any]:
    """Run the shell of a service over many connections, in this process."""
    warm_up = max(1, count // 5)
    rng = Random(1)
    await reconnect(here.address, warm_up, rng)
    before = {"shell": measured(os.getpid())}
    await reconnect(here.address, count, rng)
    return compared(before, {"shell": measured(os.getpid())})


WORKLOADS = ("rounds", "jobs", "refused", "connections")


def main() -> None:
    """Run all workloads, and print the growth of each process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=2000, help="repetitions of each")
    parser.add_argument("--agents", type=int, default=2)
    parser.add_argument("--framework", default="tflite", choices=("tflite", "torch", "keras"))
    parser.add_argument("--only", choices=WORKLOADS, nargs="+", default=WORKLOADS)
    parser.add_argument("--limit", type=float, default=LIMIT_MB, help="MB that each may grow")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is stdout")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with digits_cluster(options.agents, options.framework, "--http") as here:
        for what in options.only:
            work = connections(here, options.count) if what == "connections" else None
            found[what] = asyncio.run(work or run_workload(here, what, options.count))
    rows = [
        {"workload": what, "service": node, **figures}
        for what, nodes in found.items()
        for node, figures in nodes.items()
    ]
    result = {"count": options.count, "framework": options.framework, **found}
    publish(result, rows, options.json)
    # Mosquitto keeps each topic's name, and the state of each job is retained for a month.
    grown = [
        f"{row['service']} by {row['grown_mb']} MB over {options.count} {row['through']}"
        for row in rows
        if row["service"] != "broker"
        and (row["grown_mb"] > options.limit or row["threads"] > 0 or row["descriptors"] > IN_TURN)
    ]
    if grown:
        sys.exit(f"these grew: {'; '.join(grown)}")


if __name__ == "__main__":
    main()
