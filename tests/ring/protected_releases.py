"""Releases of encrypted and masked jobs: what left their agents on the bus and in files."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedbus.mqtt.bus import Packet
from fedbus.secure_aggregation.bit_packing import pack_block, packed_size
from fedbus.simulation.masked_records import UpdateBeforeMask
from fedbus.wire import codec
from fedbus.wire.messages import Step, StepReply
from fedbus.wire.step_contents import SharesRevealed, UnmaskRequest
from tests.repository.store_history import SqliteHistory
from tests.ring.masked_storm import MaskedReleases
from tests.ring.private_releases import PrivateReleases
from tests.ring.ring_cluster import RingCluster

DELTA, PLAIN = (b"\xa8encoding" + bytes([0xA0 + len(name)]) + name for name in (b"delta", b"plain"))
"""Part of the header of a blob in these encodings."""
SHOWN_NUMBERS = 16
"""Numbers in a row that must not be seen: what is masked or encrypted has them by no chance."""
PACKED_BITS = (18, 19, 20)
"""Bits of a number of a masked blob, for 4, 5 and 9 agents."""
WRITTEN = ("outbox:saved", "outbox:remove", "journal:remove")
TaskOfAgent = tuple[str, str, int]


@dataclass(slots=True)
class RevealedShares:
    """Whose shares an agent has revealed in one task."""

    dropped: set[str] = field(default_factory=set)
    survived: set[str] = field(default_factory=set)


class ProtectedReleases:
    """Records from the time at which this is made; `check` then finds what must not have left.

    Attributes:
        masked: Answers to steps, and offers.
        private: What the ledger must have.
        revealed: Shares, by agent, job and task.
        seen: Payloads of all packets, and contents of all files of agents, with their sources.
        unpaid: Sums that were opened before the ledger had an entry of exactly their agents.
    """

    def __init__(self, cluster: RingCluster, *, is_private: bool) -> None:
        self.masked = MaskedReleases()
        self.private = PrivateReleases(cluster)
        self.revealed: dict[TaskOfAgent, RevealedShares] = {}
        self.seen: dict[bytes, str] = {}
        self.unpaid: list[str] = []
        self._cluster = cluster
        self._is_private = is_private
        self._opened_before: set[tuple[str, int, tuple[str, ...]]] = set()
        self._read: set[tuple[str, int, int]] = set()
        cluster.ring.on_publish = self.record
        before = cluster.ring.on_step

        def on_step(host: str, step: str) -> None:
            before(host, step)
            if step in WRITTEN:
                self.record_files(host)

        cluster.ring.on_step = on_step

    def record(self, host: str, packet: Packet) -> None:
        """Record what a node publishes."""
        self.masked.record(host, packet)
        if self._is_private:
            self.private.record(host, packet)
        if packet.payload:
            self.seen.setdefault(packet.payload, f"{host} on {packet.topic}")
        match packet.topic.rpartition("/")[2]:
            case "step_reply":
                self._revealed(host, codec.unpack(StepReply, packet.payload))
            case "step" if self._is_private:
                self._opened(codec.unpack(Step, packet.payload))

    def record_files(self, host: str) -> None:
        """Record what an agent has on its disk now."""
        for folder, _, names in os.walk(self._cluster.folder / host):
            for name in names:
                path = Path(folder, name)
                stat = path.stat()
                version = str(path), stat.st_mtime_ns, stat.st_size
                if version not in self._read:
                    self._read.add(version)
                    self.seen.setdefault(path.read_bytes(), f"{host} in {name}")

    def _revealed(self, agent: str, reply: StepReply) -> None:
        if reply.step == "unmask" and not reply.reason:
            content = codec.unpack(SharesRevealed, reply.content)
            name = agent, reply.job, reply.task
            shares = self.revealed.setdefault(name, RevealedShares())
            shares.dropped |= {each.agent for each in content.dropped}
            shares.survived |= {each.agent for each in content.survived}

    def _opened(self, step: Step) -> None:
        """Compare the sum that agents are asked to open with the ledger on the disk."""
        if step.step != "unmask":
            return
        survivors = codec.unpack(UnmaskRequest, step.content).survivors
        opened = step.job, step.task, survivors
        if opened in self._opened_before:
            return
        self._opened_before.add(opened)
        with closing(SqliteHistory(self._cluster.folder / "repository")) as history:
            ledger = history.ledger(step.job)
        entries = [each.entry for each in ledger if each.entry.task == step.task]
        if [set(entry.agents) for entry in entries] != [set(survivors)]:
            self.unpaid.append(f"task {step.task} of job {step.job}")

    def check(self) -> None:
        """Check all but what is in the repository."""
        self.masked.check()
        assert not self.unpaid, f"opened without its ledger entry: {self.unpaid}"
        for (agent, job, task), shares in self.revealed.items():
            both = shares.dropped & shares.survived
            assert not both, f"{agent} revealed both shares of {sorted(both)}: {job}, task {task}"
        for agent in self._cluster.agents:
            self.record_files(agent)
        self._check_seen()

    def _check_seen(self) -> None:
        for content, source in self.seen.items():
            assert DELTA not in content, f"a readable delta: {source}"
            sent = source.startswith("agent.")
            assert not (sent and PLAIN in content), f"a readable plain blob: {source}"
        everything = b"".join(self.seen)
        for number, numbers in enumerate(self._numbers()):
            if numbers in everything:
                source = next(where for what, where in self.seen.items() if numbers in what)
                raise AssertionError(f"the numbers of update {number} can be read: {source}")

    def _numbers(self) -> Iterator[bytes]:
        """Yield how the numbers of each update would begin, if they were readable."""
        records = self._cluster.records
        for differences in records.trained.values():
            yield from _as_floats(differences["w"])
        masked = {id(update): update for update in records.masked.values()}
        left = {id(update): update for update in records.unmasked.values()}
        for update in {**masked, **left}.values():
            yield from _as_wholes(update)


def _as_floats(numbers: NDArray[np.float32]) -> Iterator[bytes]:
    shown = numbers.ravel()[:SHOWN_NUMBERS]
    yield shown.astype("<f4").tobytes()
    yield shown.astype("<f8").tobytes()


def _as_wholes(update: UpdateBeforeMask) -> Iterator[bytes]:
    shown = update.numbers[:SHOWN_NUMBERS]
    for kind in ("<u2", "<u4", "<u8"):
        yield shown.astype(kind).tobytes()
    for bits in PACKED_BITS:
        packed = bytearray(packed_size(update.numbers.size, bits))
        pack_block(update.numbers, bits, memoryview(packed))
        yield bytes(packed[:64])
