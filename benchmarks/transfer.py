"""Transfer of one blob through the broker, compared with raw publishing of as many bytes.

    python -m benchmarks.transfer --megabytes 512 --repetitions 5

Four ways, in turn: `unicast` and `multicast` carry a blob as fedbus does, through Node and Shell,
into memory, every chunk checked; `raw bus` publishes as many messages of 256 KiB at QoS 0 through
fedbus's MQTT client and `raw aiomqtt` through aiomqtt in the ordinary way, and both discard them on
arrival. Raw publishing has no flow control: for it the broker keeps as much as it must, so that
nothing is dropped.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiomqtt

from benchmarks.measure import MB, MIB, middle, peak_mb, publish
from fedbus.blobs.spool import Spools
from fedbus.core import clock
from fedbus.core.actions import Action, Fetch, Serve
from fedbus.core.events import Connected, Event, Fetched, FetchFailed
from fedbus.core.keys import Key
from fedbus.digest import hasher
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import BrokerAddress, Packet
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus.runtime import telemetry
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.reconnection import keep_connected
from fedbus.runtime.shell import Shell
from fedbus.wire.access_rules import access_rules
from fedbus.wire.blobs import CHUNK_BYTES, BlobLocation, BlobRef
from fedbus.wire.documents import AgentFacts
from fedbus.wire.topics import ROOT, Topic

SOURCE, RECEIVER = "repository.bench", "collector.bench"
RAW_TOPIC = f"{ROOT}/link/{SOURCE}/{RECEIVER}/chunk"
WAYS = ("unicast", "multicast", "raw bus", "raw aiomqtt")
SYS_SENT = "$SYS/broker/bytes/sent"
PATIENCE_SECONDS = 120.0
QUIET_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class MeasuredFetch(Key):
    """Key of the download that is measured."""


class Pattern:
    """A blob of distinct chunks that are computed when they are read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._noise = random.Random(1).randbytes(2 * CHUNK_BYTES)

    def read(self, offset: int, length: int, /) -> memoryview:
        """Return bytes at an offset that begins a chunk."""
        at = offset // CHUNK_BYTES % CHUNK_BYTES
        return memoryview(self._noise)[at : at + length]

    def digest(self) -> str:
        """Return the digest of the content."""
        sha = hasher()
        for offset in range(0, self.size, CHUNK_BYTES):
            sha.update(self.read(offset, min(CHUNK_BYTES, self.size - offset)))
        return sha.hexdigest()


class Bench:
    """A core of a node without tasks."""

    listens: tuple[Topic, ...] = ()

    def facts(self) -> AgentFacts | None:
        """Return None: it is no agent."""
        return None

    def progress(self) -> float:
        """Return 0: it has no task."""
        return 0.0


class Source(Bench):
    """A core that serves one blob."""

    def __init__(self, blob_ref: BlobRef) -> None:
        self._blob = Pattern(blob_ref.size)
        self._digest = blob_ref.digest

    def handle(self, event: Event, now: float) -> Iterator[Action]:  # noqa: ARG002 - see Core
        """Serve the blob from the first connection on."""
        if isinstance(event, Connected):
            yield Serve(self._digest, self._blob)
            report(ready=True)


class Sink(Bench):
    """A core that fetches one blob into memory, and reports the time and the digest."""

    def __init__(self, blob_ref: BlobRef, members: int) -> None:
        self._members = members
        self._reference = BlobLocation(blob_ref=blob_ref, source=SOURCE)
        self._spool = Spools(limit=blob_ref.size).make(blob_ref.size)
        self._began = 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Fetch the blob on the first connection."""
        match event:
            case Connected():
                self._began = now
                yield Fetch(MeasuredFetch(), self._reference, self._spool, self._members)
            case Fetched():
                took = clock.monotonic() - self._began
                right = self._spool.digest() == self._reference.blob_ref.digest
                report(seconds=took, arrived=self._reference.blob_ref.count, right=right)
            case FetchFailed(reason=reason):
                report(failed=reason)


def report(**facts: object) -> None:
    """Send a value to the parent process."""
    print(json.dumps(facts), flush=True)


# ── the four ways, each end in a process of its own ───────────────────────────────────────────────


async def live(name: str, core: Source | Sink, address: BrokerAddress) -> None:
    """Run a core until the parent ends this process."""
    rng = random.Random()
    identity = Identity(name=name, incarnation=clock.incarnation())
    await keep_connected(Shell(Node(identity, core, rng), threads=1), address, rng)


async def publish_bus(address: BrokerAddress, size: int) -> None:
    """Publish raw chunks through fedbus.mqtt, when the parent asks for it."""
    async with mqtt.connect(address, name=SOURCE) as bus:
        payload = Pattern(CHUNK_BYTES).read(0, CHUNK_BYTES).tobytes()
        report(ready=True)
        await asyncio.to_thread(sys.stdin.readline)
        report(began=clock.monotonic())
        for _ in range(size // CHUNK_BYTES):
            await bus.publish(Packet(RAW_TOPIC, payload))
        await asyncio.sleep(PATIENCE_SECONDS)


class Count:
    """A counter of raw chunks, with the time of the last."""

    def __init__(self, size: int) -> None:
        self._all = self._left = size // CHUNK_BYTES
        self._last = 0.0

    async def all(self, arrivals: AsyncIterator[int]) -> None:
        """Count until all arrived, or none has for some seconds: QoS 0 may lose chunks."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as quiet:
                async for count in arrivals:
                    self._left -= count
                    self._last = clock.monotonic()
                    quiet.reschedule(self._last + QUIET_SECONDS)
                    if self._left <= 0:
                        break
        report(ended=self._last, arrived=self._all - self._left)


async def receive_bus(address: BrokerAddress, size: int) -> None:
    """Count raw chunks received through fedbus.mqtt."""
    async with mqtt.connect(address, name=RECEIVER, listen=[RAW_TOPIC]) as bus:
        report(ready=True)
        await Count(size).all(len(packets) async for packets in bus.batches())


def client(address: BrokerAddress, name: str) -> aiomqtt.Client:
    """Return an ordinary aiomqtt client with TCP_NODELAY, without which it is slow."""
    nodelay = [(6, 1, 1)]  # IPPROTO_TCP, TCP_NODELAY
    return aiomqtt.Client(
        address.host,
        address.port,
        username=address.username,
        password=address.password,
        identifier=name,
        protocol=aiomqtt.ProtocolVersion.V5,
        socket_options=nodelay,
    )


async def publish_aiomqtt(address: BrokerAddress, size: int) -> None:
    """Publish raw chunks with aiomqtt, when the parent asks for it."""
    async with client(address, SOURCE) as door:
        payload = Pattern(CHUNK_BYTES).read(0, CHUNK_BYTES).tobytes()
        report(ready=True)
        await asyncio.to_thread(sys.stdin.readline)
        report(began=clock.monotonic())
        for _ in range(size // CHUNK_BYTES):
            await door.publish(RAW_TOPIC, payload)
        await asyncio.sleep(PATIENCE_SECONDS)


async def receive_aiomqtt(address: BrokerAddress, size: int) -> None:
    """Count raw chunks with aiomqtt."""
    async with client(address, RECEIVER) as door:
        await door.subscribe(RAW_TOPIC)
        report(ready=True)
        await Count(size).all(1 async for _ in door.messages)


async def child(role: str, address: BrokerAddress, size: int, digest: str) -> None:
    """Run one end of a transfer in this process."""
    blob_ref = BlobRef(digest=digest or "0" * 64, size=size)
    match role:
        case "source":
            await live(SOURCE, Source(blob_ref), address)
        case "unicast" | "multicast":
            await live(RECEIVER, Sink(blob_ref, int(role == "multicast")), address)
        case "publish raw bus":
            await publish_bus(address, size)
        case "receive raw bus":
            await receive_bus(address, size)
        case "publish raw aiomqtt":
            await publish_aiomqtt(address, size)
        case _:
            await receive_aiomqtt(address, size)


# ── the parent ────────────────────────────────────────────────────────────────────────────────────


class Child:
    """A process that runs one end of a transfer, and its reports."""

    def __init__(self, role: str, address: BrokerAddress, size: int, digest: str = "") -> None:
        arguments = ("--role", role, "--broker", address.url, "--size", str(size))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.transfer", *arguments, "--digest", digest],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def go(self) -> None:
        """Start the transfer."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def heard(self) -> dict[str, Any]:
        """Wait for its next report."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit("a benchmark's process ended before it had said anything")
        said: dict[str, Any] = json.loads(line)
        return said


def once(way: str, broker: LocalBroker, size: int, digest: str) -> dict[str, Any]:
    """Measure one transfer: seconds, and chunks that arrived."""
    source, receiver = broker.address(SOURCE), broker.address(RECEIVER)
    with ExitStack() as ends:
        if way.startswith("raw"):
            to = ends.enter_context(Child(f"receive {way}", receiver, size))
            to.heard()
            begin = ends.enter_context(Child(f"publish {way}", source, size))
            begin.heard()
            begin.go()
            began = begin.heard()["began"]
            ended = to.heard()
            return {"seconds": ended["ended"] - began, "arrived": ended["arrived"]}
        ends.enter_context(Child("source", source, size, digest)).heard()
        ended = ends.enter_context(Child(way, receiver, size, digest)).heard()
        if not ended.get("right"):
            sys.exit(f"{way}: the blob did not come whole: {ended}")
        return {"seconds": ended["seconds"], "arrived": ended["arrived"]}


async def sent(broker: LocalBroker) -> int:
    """Return the bytes that the broker has sent; its count is at most a second old."""
    await asyncio.sleep(1.5)
    async with mqtt.connect(
        broker.address("user.bench"), name="user.bench", listen=[SYS_SENT]
    ) as bus:
        return int((await bus.receive())[-1].payload)


def rules(user: str) -> Iterator[tuple[str, str]]:
    """Yield the access rules of the topic table, and for the benchmark `$SYS`."""
    yield from access_rules(user)
    if user == "user.bench":
        yield "read", "$SYS/#"


def compare(megabytes: int, repetitions: int, ways: list[str]) -> dict[str, Any]:
    """Measure each way in turn, each with a new broker; raw ones with unbounded queues."""
    size = megabytes * MIB
    digest = Pattern(size).digest()
    accounts = {user: f"{user}-secret" for user in (SOURCE, RECEIVER, "user.bench")}
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(repetitions):
        for way in ways:
            extra = ("max_queued_messages 0",) if way.startswith("raw") else ()
            with (
                tempfile.TemporaryDirectory(prefix="fedbus-bench-") as home,
                LocalBroker(
                    Path(home), accounts=accounts, rules=rules, sys_interval=1, extra=extra
                ) as broker,
            ):
                found = once(way, broker, size, digest)
                assert broker.pid is not None
                found["broker_peak_mb"] = peak_mb(broker.pid)
                found["broker_sent_mb"] = round(asyncio.run(sent(broker)) / MB, 1)
                runs[way].append(found)
    measured = {
        way: {
            "seconds": middle([run["seconds"] for run in of]),
            "mb_per_second": middle(
                [run["arrived"] * CHUNK_BYTES / run["seconds"] / MB for run in of], 1
            ),
            "lost": sum(size // CHUNK_BYTES - run["arrived"] for run in of),
            "broker_peak_mb": max(run["broker_peak_mb"] for run in of),
            "broker_sent_mb": middle([run["broker_sent_mb"] for run in of], 1),
            "runs": of,
        }
        for way, of in runs.items()
    }
    for way in ways:
        for raw in ("raw bus", "raw aiomqtt"):
            if raw in measured:
                rate = measured[way]["mb_per_second"] / measured[raw]["mb_per_second"]
                measured[way][f"of_{raw.replace(' ', '_')}"] = round(rate, 2)
    return {"benchmark": "transfer", "megabytes": megabytes, "ways": measured}


def main() -> None:
    """Print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=512, help="MiB of the blob")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is stdout")
    for hidden in ("--role", "--broker", "--digest"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        telemetry.configure_logging("json", "error")
        address = BrokerAddress.parse(options.broker)
        asyncio.run(child(options.role, address, options.size, options.digest))
        return
    result = compare(options.megabytes, options.repetitions, options.ways)
    rows = [
        {"way": way, **{name: figure for name, figure in found.items() if name != "runs"}}
        for way, found in result["ways"].items()
    ]
    publish(result, rows, options.json)


if __name__ == "__main__":
    main()
