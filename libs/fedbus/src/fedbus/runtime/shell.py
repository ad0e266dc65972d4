"""Shell of a node: performs its effects on a real broker, with threads and a clock."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fedbus.core import clock
from fedbus.core.actions import Deliver, Note, Quit
from fedbus.core.keys import Key
from fedbus.errors import FedbusError
from fedbus.mqtt.bus import Bus, Packet
from fedbus.runtime.effects import Effect, Misread, PublishChunk, StartRun
from fedbus.runtime.loopback import LoopbackProbe
from fedbus.runtime.loopback_check import LoopbackCheck
from fedbus.runtime.node import Node
from fedbus.runtime.run_threads import RunThreads
from fedbus.runtime.send_queue import SendQueue
from fedbus.runtime.small_structlog import structlog

if TYPE_CHECKING:
    from concurrent.futures import Future

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

LAST_PACKETS_SECONDS = 2.0
"""Time that a stopping process waits for its last packets to be sent."""


class Shell:
    """Run one node over any number of connections.

    `stopping` is set when the process must exit; `code` is then the exit code. With `probe`, the
    shell detects a broker that drops the node's messages. Events are logged to `logger`.
    """

    def __init__(
        self,
        node: Node,
        threads: int,
        probe: LoopbackProbe | None = None,
        logger: structlog.typing.FilteringBoundLogger = log,
    ) -> None:
        self.node = node
        self._log = logger
        self.connected = False
        self.stopping = asyncio.Event()
        self.code = 0
        self.counts: dict[str, int] = {}
        self._check = (
            None if probe is None else LoopbackCheck(probe, node.state_packet, self.counts)
        )
        self.traffic = {"received": (0, 0), "sent": (0, 0)}
        self._threads = RunThreads(threads, self._ran)
        self._queue = SendQueue(
            self._threads.read, self._chunk_unreadable, partial(self._count, "sent")
        )
        self._brief: list[StartRun] = []
        self._reading = False
        self._answering = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def serve(self, bus: Bus) -> None:
        """Run the node on one connection until it breaks (BusError) or the task is cancelled."""
        self._queue.restart()
        self.connected = True
        try:
            self.node.connected(clock.monotonic(), bus.lacks)
            self._perform()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(bus), name="read")
                tasks.create_task(self._queue.send_all(bus, tasks), name="write")
                if self._check is not None:
                    tasks.create_task(self._check.run(bus), name="self_check")
        finally:
            self.connected = False

    @property
    def healthy(self) -> bool:
        """Whether the node is connected and, as far as is known, its messages are delivered."""
        return self.connected and (self._check is None or self._check.healthy)

    async def announce_stop(self) -> None:
        """Inform the core that the process stops, and wait until its last packets are sent."""
        self.node.stopping(clock.monotonic())
        self._perform()
        try:
            async with asyncio.timeout(LAST_PACKETS_SECONDS):
                while self.connected and self._queue.waits:  # noqa: ASYNC110 - for 2 s, once
                    await asyncio.sleep(0.005)
        except TimeoutError:
            self._log.warning("last_packets_not_sent")

    def receive_local(self, message: object) -> None:
        """Pass a request that arrived over this process's own HTTP API to the core."""
        self.node.receive_local(message, clock.monotonic())
        self._perform()

    def close(self) -> None:
        """Stop the timer and accept no more runs; running threads have their flag set."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._threads.close()

    async def wait_for_threads(self) -> bool:
        """Wait, after `close`, for running threads; return whether all have ended."""
        return await self._threads.wait()

    async def _read(self, bus: Bus) -> None:
        async for arrived in bus.batches():
            now = clock.monotonic()
            packets = self._check.without_probes(arrived) if self._check else arrived
            self._count("received", packets)
            for packet in packets:
                self.node.receive(packet, now)
                packet.release()  # the node has copied what it keeps
            self._answering = True  # what follows at once is sent at once, without a further turn
            try:
                self._perform_and_run_brief()
            finally:
                self._answering = False
            self._queue.send_now(bus)

    def _perform_and_run_brief(self) -> None:
        self._reading = True
        try:
            self._perform()
        finally:
            self._reading = False
        self._run_brief()

    def _chunk_unreadable(self, chunk: PublishChunk, error: Exception) -> None:
        # The receiver requests the chunk again; a bad sector must not end the service.
        self.counts["chunk_unreadable"] = self.counts.get("chunk_unreadable", 0) + 1
        self._log.warning("chunk_unreadable", topic=chunk.topic, reason=str(error))

    def _count(self, direction: str, packets: Sequence[Packet]) -> None:
        count, size = self.traffic[direction]
        size += sum(len(packet.payload) for packet in packets)
        self.traffic[direction] = count + len(packets), size

    def _perform(self) -> None:
        for effect in self.node.take_effects():
            self._perform_one(effect)
        if not self._answering:
            self._queue.wake()
        self._schedule()

    def _perform_one(self, effect: Effect) -> None:
        match effect:
            case StartRun(brief=True):
                if not self._brief and not self._reading:
                    asyncio.get_running_loop().call_soon(self._run_brief)
                self._brief.append(effect)
            case StartRun(key, call, reads=reads, apart=apart):
                self._threads.start(key, call, reads=reads, apart=apart)
            case Quit(code, reason):
                self._log.error("service_quits", code=code, reason=reason)
                self.code = code
                self.stopping.set()
            case Note(event, facts):
                self.counts[event] = self.counts.get(event, 0) + 1
                self._log.info(event, **facts)
            case Deliver(to, result):
                self._deliver(to, result)
            case Misread(topic, reason):
                self.counts["message_misread"] = self.counts.get("message_misread", 0) + 1
                self._log.warning("message_misread", topic=topic, reason=reason)
            case _:
                # Nothing is queued while disconnected: the next connect repeats every ask.
                if self.connected:
                    self._queue.put(effect)

    def _deliver(self, to: Callable[[Any], None], result: object) -> None:
        try:
            to(result)
        except Exception:  # noqa: BLE001 - one request's client must not end the service for all
            self._log.exception("local_answer_not_delivered")

    def _run_brief(self) -> None:
        waiting, self._brief = self._brief, []
        for run in waiting:
            self._threads.run_now(run.key, run.call)

    def _ran(self, key: Key, done: "Future[Any]") -> None:
        if done.cancelled() or self._closed:
            return
        error = done.exception()
        if error is None:
            self.node.ran(key, done.result(), clock.monotonic())
        elif isinstance(error, Exception):
            if not isinstance(error, FedbusError | OSError):
                self._log.error("run_failed", key=key, exc_info=error)
            self.node.run_failed(key, error, clock.monotonic())
        else:
            raise error
        self._perform()

    def _schedule(self) -> None:
        """Set the timer for the node's next wake; an earlier timer stays, and sets it again.

        Most replies arrive before the node's timeout, so few timers need to be moved.
        """
        at = self.node.next_wake()
        if self._timer is not None:
            if at is None or self._timer.when() <= at:
                return
            self._timer.cancel()
            self._timer = None
        if at is not None:  # asyncio's clock is time.monotonic too
            self._timer = asyncio.get_running_loop().call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.node.tick(clock.monotonic())
        self._perform()
