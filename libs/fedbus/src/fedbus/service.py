"""The one shell: it performs what a node decides, on a real broker, with real threads and time.

A service's `__main__` is three lines:

    def main() -> None:
        service.main("collector", CollectorSettings, build)

where `build(settings, identity) -> Built` makes the core (and, for the repository, the library of
blobs it serves). `main` reads the settings, configures the log, serves until SIGTERM or Ctrl-C, and
exits 0; a bad setting exits 2 with a sentence that names the variable.
"""

import asyncio
import gc
import os
import random
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from fedbus import clock, telemetry
from fedbus.actions import Core, Note, Quit
from fedbus.bus import mqtt
from fedbus.bus.base import BrokerAddress, Bus, Packet
from fedbus.effects import Effect, Misread, Publish, PublishChunk, StartRun, Subscribe, Unsubscribe
from fedbus.errors import BusError, FedbusError, SettingsError
from fedbus.node import Identity, Node
from fedbus.settings import ServiceSettings, settings_from
from fedbus.transfer.outlet import Library

if TYPE_CHECKING:
    from fedbus.http import Doors

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0
STEADY_SECONDS = 10.0
LAST_WORD_SECONDS = 2.0
LAST_WORK_SECONDS = 4.0
"""How long a process that leaves waits for threads that were told to stop; then they are cut."""


@dataclass(frozen=True, slots=True)
class Built:
    """What is particular about a service; `doors` makes its own HTTP doors, where one is open."""

    core: Core
    library: Library | None = None
    close: Callable[[], None] = lambda: None
    doors: "Callable[[Shell], Doors] | None" = None


class Shell:
    """Keep one node going over as many connections as it takes.

    `over` is set once the core wants to leave; `code` is then the exit code it wants.
    """

    def __init__(self, node: Node, threads: int) -> None:
        self.node = node
        self.connected = False
        self.over = asyncio.Event()
        self.code = 0
        self.counts: dict[str, int] = {}
        self.traffic = {"received": (0, 0), "sent": (0, 0)}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="work")
        self._control: deque[Publish | Subscribe | Unsubscribe] = deque()
        self._bulk: deque[PublishChunk] = deque()
        self._work = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[Future[Any]] = set()
        self._closed = False

    async def serve(self, bus: Bus) -> None:
        """Live on one connection until it breaks (BusError) or the task is cancelled."""
        self._control.clear()
        self._bulk.clear()
        self.connected = True
        try:
            self.node.connected(clock.monotonic())
            self._perform()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(bus), name="read")
                tasks.create_task(self._write(bus, tasks), name="write")
        finally:
            self.connected = False

    async def leave(self) -> None:
        """Tell the core that the process stops, and give the last word time to go out."""
        self.node.stopping(clock.monotonic())
        self._perform()
        try:
            async with asyncio.timeout(LAST_WORD_SECONDS):
                while self.connected and self._control:  # noqa: ASYNC110 - for 2 s, once
                    await asyncio.sleep(0.005)
        except TimeoutError:
            log.warning("last_word_unsaid")

    def tell(self, message: object) -> None:
        """Hand something to the core that came in by a door of this process's own."""
        self.node.told(message, clock.monotonic())
        self._perform()

    def close(self) -> None:
        """Let go of the threads; those that still work were told to stop."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def done(self) -> bool:
        """Wait a moment, after `close`, for threads that work; tell whether none does any more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORK_SECONDS):
                while self._running:  # noqa: ASYNC110 - for 4 s, once
                    await asyncio.sleep(0.005)
        return not self._running

    async def _read(self, bus: Bus) -> None:
        async for packets in bus.batches():
            now = clock.monotonic()
            for packet in packets:
                self.node.receive(packet, now)
            self._count("received", packets)
            self._perform()

    async def _write(self, bus: Bus, tasks: asyncio.TaskGroup) -> None:
        while True:
            if self._control:
                await self._say(bus, self._control[0], tasks)
                self._control.popleft()
            elif self._bulk:
                await self._send_chunk(bus, self._bulk.popleft())
            else:
                self._work.clear()
                await self._work.wait()

    async def _send_chunk(self, bus: Bus, chunk: PublishChunk) -> None:
        try:
            packet = chunk.packet()
        except (FedbusError, OSError) as error:
            # One bad sector ends no service: the chunk is wanted again, and perhaps read then.
            log.warning("chunk_unreadable", topic=chunk.topic, reason=str(error))
            return
        await bus.publish(packet)
        self._count("sent", (packet,))

    async def _say(
        self, bus: Bus, effect: Publish | Subscribe | Unsubscribe, tasks: asyncio.TaskGroup
    ) -> None:
        match effect:
            case Publish(packet):
                await bus.publish(packet)
                self._count("sent", (packet,))
            case Subscribe(topic):
                # A broker takes a client's packets in order, so what follows need not wait for its
                # answer; only be written after it, which one turn of the loop is enough for.
                tasks.create_task(bus.subscribe(topic), name="subscribe")
                await asyncio.sleep(0)
            case Unsubscribe(topic):
                tasks.create_task(bus.unsubscribe(topic), name="unsubscribe")
                await asyncio.sleep(0)

    def _count(self, direction: str, packets: Sequence[Packet]) -> None:
        count, size = self.traffic[direction]
        size += sum(len(packet.payload) for packet in packets)
        self.traffic[direction] = count + len(packets), size

    def _perform(self) -> None:
        for effect in self.node.take():
            self._take_up(effect)
        if self._control or self._bulk:
            self._work.set()
        self._schedule()

    def _take_up(self, effect: Effect) -> None:
        match effect:
            case StartRun(key, call, brief=True):
                asyncio.get_running_loop().call_soon(self._run_now, key, call)
            case StartRun(key, call):
                self._start(key, call)
            case Quit(code, reason):
                log.error("service_quits", code=code, reason=reason)
                self.code = code
                self.over.set()
            case Note(event, facts):
                self.counts[event] = self.counts.get(event, 0) + 1
                log.info(event, **facts)
            case Misread(topic, reason):
                self.counts["message_misread"] = self.counts.get("message_misread", 0) + 1
                log.warning("message_misread", topic=topic, reason=reason)
            case PublishChunk():
                if self.connected:
                    self._bulk.append(effect)
            case _:
                # Unconnected, nothing is kept: on the next connect every ask is asked again.
                if self.connected:
                    self._control.append(effect)

    def _start(self, key: tuple[Any, ...], call: Callable[[], Any]) -> None:
        running = self._threads.submit(call)
        self._running.add(running)
        report = partial(self._report, asyncio.get_running_loop(), key)
        running.add_done_callback(report)

    def _report(
        self, loop: asyncio.AbstractEventLoop, key: tuple[Any, ...], done: "Future[Any]"
    ) -> None:
        self._running.discard(done)
        with suppress(RuntimeError):  # the loop is closed: the process has left, nobody listens
            loop.call_soon_threadsafe(self._ran, key, done)

    def _run_now(self, key: tuple[Any, ...], call: Callable[[], Any]) -> None:
        done: Future[Any] = Future()
        try:
            done.set_result(call())
        except Exception as error:  # noqa: BLE001 - `_ran` tells it apart, as it does a thread's
            done.set_exception(error)
        self._ran(key, done)

    def _ran(self, key: tuple[Any, ...], done: "Future[Any]") -> None:
        if done.cancelled() or self._closed:
            return
        error = done.exception()
        if error is None:
            self.node.ran(key, done.result(), clock.monotonic())
        elif isinstance(error, Exception):
            if not isinstance(error, FedbusError | OSError):
                log.error("run_failed", key=key, exc_info=error)
            self.node.run_failed(key, error, clock.monotonic())
        else:
            raise error
        self._perform()

    def _schedule(self) -> None:
        at = self.node.next_wake()
        if self._timer is not None:
            if at is not None and self._timer.when() == at and not self._timer.cancelled():
                return
            self._timer.cancel()
        # asyncio's loop and our clock are both time.monotonic
        loop = asyncio.get_running_loop()
        self._timer = None if at is None else loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.node.tick(clock.monotonic())
        self._perform()


async def keep_connected(shell: Shell, address: BrokerAddress, rng: random.Random) -> None:
    """Serve over fresh connections for ever, with a jittered pause after each that broke."""
    node, pause = shell.node, FIRST_PAUSE_SECONDS
    while True:
        began = clock.monotonic()
        try:
            async with mqtt.connect(
                address,
                name=node.identity.name,
                listen=node.subscriptions(),
                will=node.will(),
                lend=True,
            ) as bus:
                log.info("bus_connected", broker=f"{address.host}:{address.port}")
                await shell.serve(bus)
        except* BusError as broken:
            log.warning("bus_lost", reason=str(broken.exceptions[0]))
        if clock.monotonic() - began > STEADY_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await asyncio.sleep(pause * rng.uniform(0.5, 1.5))
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def keep_pulse(shell: Shell, file: Path | None, seconds: float) -> None:
    """Touch a file every heartbeat while connected, so that a container can be seen to be well.

    It grows old when the broker is away as when the loop hangs, and is gone when the service is.
    """
    if file is None:
        return
    try:
        while True:
            if shell.connected:
                _touch(file)
            await asyncio.sleep(seconds if shell.connected else FIRST_PAUSE_SECONDS)
    finally:
        _remove(file)


def _touch(file: Path) -> None:
    try:
        file.touch()
    except OSError as error:  # then we are taken for ill, and the log says why
        log.warning("pulse_unseen", file=str(file), reason=error.strerror)


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a service ended: its exit code, and whether all its threads are done."""

    code: int
    done: bool


async def run(built: Built, identity: Identity, settings: ServiceSettings) -> Ended:
    """Serve until SIGTERM or SIGINT, or until the core wants to leave."""
    address = settings.address()
    rng = random.SystemRandom()
    node = Node(
        identity,
        built.core,
        rng,
        library=built.library,
        vitals=telemetry.vitals,
        watch=fault_point(),
    )
    shell = Shell(node, settings.threads)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shell.over.set)
    with structlog.contextvars.bound_contextvars(node=identity.name):
        async with doors(shell, settings, built), asyncio.TaskGroup() as tasks:
            connection = tasks.create_task(keep_connected(shell, address, rng), name="connection")
            beat = keep_pulse(shell, settings.health_file, settings.heartbeat_seconds)
            pulse = tasks.create_task(beat, name="pulse")
            await shell.over.wait()
            await shell.leave()
            connection.cancel()
            pulse.cancel()
        shell.close()
        done = await shell.done()
        built.close()
        (received, received_bytes), (sent, sent_bytes) = shell.traffic.values()
        log.info(
            "service_stopped",
            received=received,
            received_bytes=received_bytes,
            sent=sent,
            sent_bytes=sent_bytes,
        )
        if not done:
            log.warning("work_cut_short", reason="a thread did not end when it was told to")
    return Ended(shell.code, done)


@asynccontextmanager
async def doors(shell: Shell, settings: ServiceSettings, built: Built) -> AsyncIterator[None]:
    """Open the HTTP doors where they are configured, and close them at the end."""
    if settings.http is None:
        yield
        return
    # aiohttp only where a door is configured
    from fedbus.http import Doors, open_doors  # noqa: PLC0415

    own = Doors() if built.doors is None else built.doors(shell)
    runner = await open_doors(shell, settings.http, own)
    try:
        yield
    finally:
        await runner.cleanup()


def fault_point() -> Callable[[str], None] | None:
    """Read FEDBUS_FAULT_AT, `step:count`: kill -9 this process at that step. For fault tests."""
    wanted = os.environ.get("FEDBUS_FAULT_AT", "")
    if not wanted:
        return None
    step, _, count = wanted.rpartition(":")
    left = int(count)

    def watch(name: str) -> None:
        nonlocal left
        if name == step:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return watch


S = TypeVar("S", bound=ServiceSettings)


def main(role: str, kind: type[S], build: Callable[[S, Identity], Built]) -> None:
    """Be a service: settings from the environment, then serve until told to stop."""
    try:
        settings = settings_from(os.environ, kind)
        telemetry.configure_logging(settings.log, settings.log_level)
        identity = Identity(
            name=f"{role}.{settings.name}",
            incarnation=clock.incarnation(),
            version=version("fedbus"),
            root=settings.root,
            open_profile=settings.open,
            in_flight=settings.in_flight_mb * 2**20,
            heartbeat_seconds=settings.heartbeat_seconds,
        )
        built = build(settings, identity)
        gc.freeze()  # what is here now stays: no collection needs to walk it again
        ended = asyncio.run(run(built, identity, settings))
    except FedbusError as error:
        sys.stderr.write(f"fedbus-{role}: {error}\n")
        raise SystemExit(2 if isinstance(error, SettingsError) else 1) from None
    if not ended.done:
        # Python would wait for the thread, for ever if it hangs. All that matters is on the disk.
        sys.stderr.flush()
        os._exit(ended.code)
    if ended.code:
        raise SystemExit(ended.code)


__all__ = ["Built", "Shell", "keep_connected", "main", "run"]
