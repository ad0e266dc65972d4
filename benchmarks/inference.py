"""Latency of predictions through the broker, compared with an echo process.

    python -m benchmarks.inference --requests 500

A real broker, a real inference service, and an echo that answers in paho's callback, the fastest
way in Python. One client asks both in turn, one request at a time, for one of the demo's digits;
`ratio` is the ratio of their medians.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgpack
import numpy as np
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.measure import publish
from benchmarks.one_model import repository
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import BrokerAddress, Bus, Packet
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus.runtime import telemetry
from fedbus.wire.topic_names import address
from fedbus.wire.topics import INFERENCE, ROOT

ECHO = "bench/echo"
REPLIES = f"{ROOT}/replies/bench"
WARM_UP = 50
PATIENCE_SECONDS = 20.0


# ── the services ──────────────────────────────────────────────────────────────────────────────────


def echo(host: str, port: int) -> None:
    """Answer each request with its own payload, until killed."""

    def on_connect(client: Client, *_: object) -> None:
        client.subscribe(ECHO)

    def on_message(client: Client, _: object, message: MQTTMessage) -> None:
        asked: Any = message.properties
        properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho
        properties.CorrelationData = asked.CorrelationData
        client.publish(asked.ResponseTopic, message.payload, properties=properties)

    client = Client(CallbackAPIVersion.VERSION2, "echo", protocol=MQTTProtocolVersion.MQTTv5)
    client.on_connect = on_connect
    client.on_message = on_message
    client.connect(host, port)
    client.loop_forever()


@contextmanager
def process(*arguments: str, broker: BrokerAddress, log: Path) -> Iterator[None]:
    """Run a Python module as a process in this block."""
    environ = os.environ | {
        "FEDBUS_BROKER": broker.url,
        "FEDBUS_NAME": "bench",
        "FEDBUS_HOME": str(log.with_name("home")),
    }
    with log.open("wb") as words:
        running = subprocess.Popen([sys.executable, "-m", *arguments], env=environ, stderr=words)
    try:
        yield
    finally:
        running.terminate()
        running.wait(10)


# ── the client ────────────────────────────────────────────────────────────────────────────────────


class Requester:
    """A client that sends one request at a time and measures its time."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._count = 0

    async def ask(self, topic: str, payload: bytes, content_type: str) -> tuple[float, bytes]:
        """Publish a request and wait for its answer; return the seconds and the answer."""
        self._count += 1
        mark = self._count.to_bytes(4, "big")
        request = Packet(
            topic, payload, content_type=content_type, response_topic=REPLIES, correlation=mark
        )
        began = time.perf_counter()
        await self._bus.publish(request)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for packet in await self._bus.receive():
                    if packet.correlation == mark:
                        return time.perf_counter() - began, packet.payload

    async def until(self, topic: str, answered: Callable[[bytes], bool]) -> None:
        """Ask until the service is ready."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    async with asyncio.timeout(0.2):
                        _, answer = await self.ask(topic, question(), "application/json")
                except TimeoutError:
                    continue
                if answered(answer):
                    return
                await asyncio.sleep(0.05)


def question(encoding: str = "json") -> bytes:
    """Return the request for one digit in one encoding."""
    pixels = np.random.default_rng(1).integers(0, 17, 64).astype("<f4") / 16
    match encoding:
        case "json":
            return json.dumps({"inputs": [pixels.tolist()]}).encode()
        case "msgpack":
            packed: bytes = msgpack.packb({"inputs": [pixels.tolist()]})
        case _:
            array = {"dtype": "float32", "shape": [1, 64], "data": pixels.tobytes()}
            packed = msgpack.packb({"inputs": array})
    return packed


async def measure(bus: Bus, requests: int, encoding: str) -> dict[str, Any]:
    """Send requests to both in turn."""
    requester = Requester(bus)
    infer = address(ROOT, INFERENCE, model="digits")
    await requester.until(ECHO, bool)
    await requester.until(infer, lambda answer: b"outputs" in answer)
    payload = question(encoding)
    kind = "application/json" if encoding == "json" else "application/msgpack"
    seconds: dict[str, list[float]] = {ECHO: [], infer: []}
    for _ in range(WARM_UP + requests):
        for topic, taken in seconds.items():
            took, _ = await requester.ask(topic, payload, kind)
            taken.append(took)
    echoed, inferred = (figures(taken[WARM_UP:]) for taken in seconds.values())
    ratio = round(inferred["p50_ms"] / echoed["p50_ms"], 2)
    return {
        "encoding": encoding,
        "bytes": len(payload),
        "echo": echoed,
        "inference": inferred,
        "ratio": ratio,
    }


def figures(seconds: list[float]) -> dict[str, float]:
    """Compute the median and the 99th percentile in milliseconds."""
    return {
        "p50_ms": round(median(seconds) * 1000, 3),
        "p99_ms": round(quantiles(seconds, n=100)[98] * 1000, 3),
    }


async def bench(broker: BrokerAddress, requests: int, encodings: list[str]) -> list[Any]:
    """Serve the model, and measure predictions in each encoding."""
    async with (
        repository(broker),
        mqtt.connect(broker, name="user.bench", listen=[REPLIES]) as bus,
    ):
        return [await measure(bus, requests, encoding) for encoding in encodings]


def run(requests: int, encodings: list[str]) -> dict[str, Any]:
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
            try:
                measured = asyncio.run(bench(broker, requests, encodings))
            except TimeoutError:
                words = "".join(log.read_text() for log in logs.glob("*.log"))
                sys.exit(f"no answer within {PATIENCE_SECONDS:g} s; the logs:\n{words}")
    return {"benchmark": "inference", "requests": requests, "measured": measured}


def rows(result: dict[str, Any]) -> list[dict[str, object]]:
    """Return the rows of the table."""
    return [
        {
            "encoding": figures["encoding"],
            "echo p50 ms": figures["echo"]["p50_ms"],
            "inference p50 ms": figures["inference"]["p50_ms"],
            "p99 ms": figures["inference"]["p99_ms"],
            "ratio": figures["ratio"],
        }
        for figures in result["measured"]
    ]


def main() -> None:
    """Print the results as a table and as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=500, help="of each kind, after a warm-up")
    parser.add_argument(
        "--encoding", choices=["json", "msgpack", "raw"], nargs="+", default=["json", "raw"]
    )
    parser.add_argument("--json", metavar="FILE", help="write the JSON there, and print a table")
    parser.add_argument("--echo", metavar="HOST:PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.echo:
        host, _, port = options.echo.rpartition(":")
        echo(host, int(port))
        return
    telemetry.configure_logging("auto", "warning")
    result = run(options.requests, options.encoding)
    if options.json is None:
        print(json.dumps(result, indent=2))
    else:
        publish(result, rows(result), options.json)


if __name__ == "__main__":
    main()
