"""Inference under load, compared with an echo process under the same load generators.

    python -m benchmarks.inference_load --seconds 3 --rounds 3

A real broker, a real inference service with one of the demo's digits, the echo of
`benchmarks.inference`, and load generators as processes of their own. Echo and service take turns,
so that what else the machine does affects both. Printed are answers a second with a fixed number of
requests on their way, the 99th percentile at half of that load, and what a hot swap every half
second changes under full load: its percentile, and lost and refused requests.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.inference import ECHO, REPLIES, Requester, process, question
from benchmarks.measure import publish
from benchmarks.one_model import repository
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import BrokerAddress, Bus, Packet
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus.runtime import telemetry
from fedbus.wire.topic_names import address
from fedbus.wire.topics import INFERENCE, ROOT

INFER = address(ROOT, INFERENCE, model="digits")
GRACE_SECONDS = 5.0
"""Time after the last request in which its answer may arrive; later it is lost."""
SWAP_SECONDS = 0.5
BURST_SECONDS = 0.002
"""An open-loop generator sends what is due this often."""


# ── a load generator ──────────────────────────────────────────────────────────────────────────────


class Generator:
    """Sends requests and takes the time of each answer.

    Args:
        window: Requests on their way at once; 0: as many as the rate makes.
        rate: Requests a second, whether answers arrive or not; 0: one for each answer.
    """

    def __init__(self, bus: Bus, topic: str, replies: str, window: int, rate: float) -> None:
        self._bus = bus
        self._topic, self._replies = topic, replies
        self._payload = question("raw")
        self._window, self._rate = window, rate
        self._sent: dict[bytes, float] = {}
        self._count = 0
        self.seconds: list[float] = []
        self.errors = 0

    async def run(self, seconds: float) -> dict[str, Any]:
        """Generate load, and return what came of it."""
        began = time.perf_counter()
        end = began + seconds
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read(end))
            if self._rate:
                await self._send_at_rate(began, end)
            else:
                await self._send(self._window, time.perf_counter())
            await asyncio.sleep(max(0.0, end - time.perf_counter()))
            answered = len(self.seconds)
            until = time.perf_counter() + GRACE_SECONDS
            while self._sent and time.perf_counter() < until:  # noqa: ASYNC110 - a few times, at the end
                await asyncio.sleep(0.01)
            reading.cancel()
        return {
            "answered": answered,
            "per_second": answered / seconds,
            "lost": len(self._sent),
            "errors": self.errors,
            "seconds": self.seconds,
        }

    async def _send_at_rate(self, began: float, end: float) -> None:
        while (now := time.perf_counter()) < end:
            due = int((now - began) * self._rate) - self._count
            if due > 0:
                await self._send(due, now)
            await asyncio.sleep(BURST_SECONDS)

    async def _send(self, count: int, now: float) -> None:
        packets = []
        for _ in range(count):
            self._count += 1
            mark = self._count.to_bytes(8, "big")
            self._sent[mark] = now
            packets.append(
                Packet(
                    self._topic,
                    self._payload,
                    content_type="application/msgpack",
                    response_topic=self._replies,
                    correlation=mark,
                )
            )
        await self._bus.publish(*packets)

    async def _read(self, end: float) -> None:
        while True:
            packets = await self._bus.receive()
            now = time.perf_counter()
            fresh = 0
            for packet in packets:
                sent = self._sent.pop(packet.correlation or b"", None)
                if sent is not None:
                    self.seconds.append(now - sent)
                    self.errors += b"error" in packet.payload[:64]
                    fresh += 1
            if fresh and not self._rate and now < end:
                await self._send(fresh, now)


async def generate(broker: BrokerAddress, options: argparse.Namespace) -> None:
    """Log in, wait for the start, generate load, and print what came of it as JSON."""
    replies = f"{ROOT}/replies/{options.name}"
    async with mqtt.connect(broker, name=f"user.{options.name}", listen=[replies]) as bus:
        generator = Generator(bus, options.topic, replies, options.window, options.rate)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(json.dumps(await generator.run(options.seconds)), flush=True)


# ── the measurement ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Load:
    """What the generators of one phase measured together."""

    per_second: float
    p50_ms: float
    p99_ms: float
    lost: int
    errors: int
    answered: int


@dataclass(frozen=True)
class Phase:
    """How load is generated, and for how long."""

    seconds: float
    processes: int
    window: int = 0
    rate: float = 0.0

    def command(self, broker: BrokerAddress, topic: str, number: int) -> list[str]:
        """Return the command of one generator."""
        options = {
            "broker": f"{broker.host}:{broker.port}",
            "name": f"load-{number}",
            "topic": topic,
            "seconds": self.seconds,
            "window": self.window // self.processes,
            "rate": self.rate / self.processes,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return [sys.executable, "-m", "benchmarks.inference_load", "--generate", *words]


def load(broker: BrokerAddress, topic: str, phase: Phase) -> Load:
    """Run load generators against a topic, all at once."""
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(phase.command(broker, topic, number), stdin=pipe, stdout=pipe, text=True)
        for number in range(phase.processes)
    ]
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in running:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    found = [json.loads(each.communicate()[0]) for each in running]
    times = [second for one in found for second in one["seconds"]]
    return Load(
        per_second=round(sum(one["per_second"] for one in found)),
        p50_ms=round(median(times) * 1000, 3),
        p99_ms=round(quantiles(times, n=100)[98] * 1000, 3),
        lost=sum(one["lost"] for one in found),
        errors=sum(one["errors"] for one in found),
        answered=len(times),
    )


async def bench(broker: BrokerAddress, options: argparse.Namespace) -> dict[str, Any]:
    """Measure echo and service in turn, then half load, then hot swaps."""

    async def loaded(topic: str, rate: float = 0.0) -> Load:
        window = 0 if rate else options.window
        phase = Phase(options.seconds, options.processes, window, rate)
        return await asyncio.to_thread(load, broker, topic, phase)

    async with repository(broker):
        async with mqtt.connect(broker, name="user.bench", listen=[REPLIES]) as bus:
            requester = Requester(bus)
            await requester.until(ECHO, bool)
            await requester.until(INFER, lambda answer: b"outputs" in answer)
        await loaded(INFER)  # warm-up
        turns = [(await loaded(ECHO), await loaded(INFER)) for _ in range(options.rounds)]
        full = median(service.per_second for _, service in turns)
        halves = [
            (await loaded(ECHO, full / 2), await loaded(INFER, full / 2))
            for _ in range(options.rounds)
        ]
        calm = await loaded(INFER)
    async with repository(broker, first=2, every=SWAP_SECONDS):
        swapping = await loaded(INFER)
    return {
        "echo_per_second": median(echo.per_second for echo, _ in turns),
        "answers_per_second": full,
        "ratio": round(median(s.per_second / e.per_second for e, s in turns), 2),
        "lost": sum(service.lost for _, service in turns),
        "errors": sum(service.errors for _, service in turns),
        "half_load_p50_ms": median(service.p50_ms for _, service in halves),
        "half_load_p99_ms": median(service.p99_ms for _, service in halves),
        "half_load_echo_p99_ms": median(echo.p99_ms for echo, _ in halves),
        "full_load_p99_ms": calm.p99_ms,
        "swap_p99_ms": swapping.p99_ms,
        "swap_ratio": round(swapping.p99_ms / calm.p99_ms, 2),
        "swap_per_second": swapping.per_second,
        "swap_lost": swapping.lost,
        "swap_errors": swapping.errors,
    }


def messages_per_request(log: Path) -> float:
    """Return the messages that the service received and sent for each answer, from its log."""
    for line in log.read_text().splitlines():
        if "service_stopped" in line:
            facts = json.loads(line)
            received, sent = int(facts["received"]), int(facts["sent"])
            return round((received + sent) / sent, 2)
    return 0.0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start the processes, measure, and end them."""
    with (
        tempfile.TemporaryDirectory(prefix="fedbus-bench-") as folder,
        LocalBroker(Path(folder)) as local,
    ):
        broker, logs = local.address(), Path(folder)
        echoing = ("benchmarks.inference", "--echo", f"{broker.host}:{broker.port}")
        with (
            process("fedbus_inference", broker=broker, log=logs / "inference.log"),
            process(*echoing, broker=broker, log=logs / "echo.log"),
        ):
            measured = asyncio.run(bench(broker, options))
        measured["messages_per_request"] = messages_per_request(logs / "inference.log")
    return {"benchmark": "inference_load", "window": options.window, "measured": measured}


def rows(result: dict[str, Any]) -> Sequence[dict[str, object]]:
    """Return the rows of the table."""
    return [result["measured"]]


def main() -> None:
    """Print the results as a table and as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each phase")
    parser.add_argument("--rounds", type=int, default=3, help="turns of echo and service")
    parser.add_argument("--processes", type=int, default=2, help="load generators")
    parser.add_argument("--window", type=int, default=64, help="requests on their way at once")
    parser.add_argument("--json", metavar="FILE", help="write the JSON there, and print a table")
    parser.add_argument("--generate", action="store_true", help=argparse.SUPPRESS)
    for hidden, default in (("broker", ""), ("name", ""), ("topic", "")):
        parser.add_argument(f"--{hidden}", default=default, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    telemetry.configure_logging("auto", "warning")
    if options.generate:
        host, _, port = options.broker.rpartition(":")
        asyncio.run(generate(BrokerAddress(host, int(port)), options))
        return
    result = run(options)
    if options.json is None:
        print(json.dumps(result, indent=2))
    else:
        publish(result, rows(result), options.json)


if __name__ == "__main__":
    main()
