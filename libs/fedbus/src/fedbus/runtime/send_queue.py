"""Packets that a shell sends on one connection, in order; chunks of blobs after all others."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from fedbus.mqtt.bus import Bus, Packet
from fedbus.runtime.chunk_queue import ChunkQueue, Read, Unreadable
from fedbus.runtime.effects import Acknowledge, Publish, PublishChunk, Subscribe, Unsubscribe

TOGETHER_BYTES = 128 * 1024
MAX_TOGETHER = 64
"""Publications that wait are sent together, up to this many, or the first beyond these bytes."""

Sendable: TypeAlias = Publish | PublishChunk | Acknowledge | Subscribe | Unsubscribe


class SendQueue:
    """The effects to send; used in the event loop only.

    Args:
        read: Reads chunks in a thread.
        unreadable: Called with a chunk that cannot be read: its receiver requests it again.
        sent: Called with packets that were handed over to the network.
    """

    def __init__(
        self, read: Read, unreadable: Unreadable, sent: Callable[[Sequence[Packet]], None]
    ) -> None:
        self._read, self._unreadable, self._sent = read, unreadable, sent
        self._control: deque[Publish | Acknowledge | Subscribe | Unsubscribe] = deque()
        self._writes = False
        self._work = asyncio.Event()
        self._bulk = self._new_chunks()

    def _new_chunks(self) -> ChunkQueue:
        return ChunkQueue(self._read, self._work.set, self._unreadable)

    def restart(self) -> None:
        """Drop what was not sent on the connection before; a task is about to call `send_all`."""
        self._control.clear()
        self._writes = True
        self._bulk = self._new_chunks()

    @property
    def waits(self) -> bool:
        """Whether effects wait that are no chunks."""
        return bool(self._control)

    def put(self, effect: Sendable) -> None:
        """Add an effect; `wake` has it sent, a chunk needs no call."""
        if isinstance(effect, PublishChunk):
            self._bulk.put(effect)
            self._work.set()
        else:
            self._control.append(effect)

    def wake(self) -> None:
        """Have the task that sends go on, if effects wait."""
        if self._control:
            self._work.set()

    def send_now(self, bus: Bus) -> None:
        """Send the publications that are first in the queue, if the other task sends nothing.

        Raises:
            BusError: The connection is lost.
        """
        if not self._writes and self._control:
            packets = self._publications()
            if packets and bus.publish_now(*packets):
                self._sent(packets)
                for _ in packets:
                    self._control.popleft()
        self.wake()

    async def send_all(self, bus: Bus, tasks: asyncio.TaskGroup) -> None:
        """Send what is added, until the connection is lost; `tasks` wait for the broker's answers.

        Raises:
            BusError: The connection is lost.
        """
        while True:
            if self._control:
                await self._send_control(bus, tasks)
            elif (packet := self._bulk.take()) is not None:
                await bus.publish(packet)
                self._sent((packet,))
            else:
                self._writes = False
                self._work.clear()
                await self._work.wait()
                self._writes = True

    async def _send_control(self, bus: Bus, tasks: asyncio.TaskGroup) -> None:
        """Send what is first in the queue, publications that follow each other together."""
        done = 1
        match self._control[0]:
            case Publish():
                packets = self._publications()
                await bus.publish(*packets)
                self._sent(packets)
                done = len(packets)
            case Acknowledge(receipt):
                await bus.acknowledge(receipt)
            case Subscribe(topic):
                # A broker handles a client's packets in order, so later packets need not wait for
                # the answer, only be written after this one: one turn of the event loop suffices.
                tasks.create_task(bus.subscribe(topic), name="subscribe")
                await asyncio.sleep(0)
            case Unsubscribe(topic):
                tasks.create_task(bus.unsubscribe(topic), name="unsubscribe")
                await asyncio.sleep(0)
        for _ in range(done):
            self._control.popleft()

    def _publications(self) -> list[Packet]:
        packets, size = list[Packet](), 0
        for effect in self._control:
            if not isinstance(effect, Publish):
                break
            if size > TOGETHER_BYTES or len(packets) == MAX_TOGETHER:
                break
            packets.append(effect.packet)
            size += len(effect.packet.payload)
        return packets
