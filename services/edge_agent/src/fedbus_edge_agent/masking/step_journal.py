"""Journals of masked tasks on the agent's disk: the secrets and answers of each, until it ends.

What an answer depends on is on the disk before the answer leaves, so that a restarted agent repeats
it. A journal that cannot be read is removed: its agent leaves the round.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedbus.atomic_write import PRIVATE, atomic_write, os_errors_as_store_errors
from fedbus.errors import WireError
from fedbus.scalars import Ident, RoundNumber
from fedbus.wire import codec
from fedbus.wire.identifiers import NodeName, TaskNumber
from fedbus.wire.secure_aggregation import SecureAggregationTerms

MAX_JOURNALS: Final = 64
"""The newest ones are loaded, and the others removed: an agent is not always told of an end."""
_SUFFIX: Final = ".steps"
_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalledTask:
    """What a journal says beside the steps: the task, its terms, and the collector that asks."""

    job: Ident
    round: RoundNumber
    task: TaskNumber
    collector: NodeName
    terms: SecureAggregationTerms


@dataclass(frozen=True, slots=True)
class StepJournals:
    """One folder with a file `{job}~{task}.steps` for each task, which its owner alone may read.

    A file holds the length of a `JournalledTask` in 4 bytes, the task in msgpack, and what
    `AgentSteps.to_bytes` returned.
    """

    folder: Path
    durable: bool = True

    def save(self, task: JournalledTask, steps: bytes) -> None:
        """Write a journal; if they are `durable`, a power cut does not undo that.

        Raises:
            StoreError: The disk is full or not writable.
        """
        head = codec.pack(task)
        path = self._path(task.job, task.task)
        with os_errors_as_store_errors(path, "journal of a masked task"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            data = len(head).to_bytes(_LENGTH_BYTES) + head + steps
            atomic_write(path, data, mode=PRIVATE, durable=self.durable)

    def load(self) -> Iterator[tuple[JournalledTask, bytes]]:
        """Yield the journals of an earlier process, the oldest first; remove what is damaged."""
        written = sorted(self.folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
        for number, path in enumerate(written, 1):
            found = _read(path) if number > len(written) - MAX_JOURNALS else None
            if found is None or self._path(found[0].job, found[0].task) != path:
                path.unlink(missing_ok=True)
            else:
                yield found

    def remove(self, job: str, task: int) -> None:
        """Remove a journal, as far as the disk allows it."""
        with suppress(OSError):
            self._path(job, task).unlink(missing_ok=True)

    def _path(self, job: str, task: int) -> Path:
        return self.folder / f"{job}~{task}{_SUFFIX}"  # "~" is in no name


def _read(path: Path) -> tuple[JournalledTask, bytes] | None:
    try:
        data = path.read_bytes()
        length = int.from_bytes(data[:_LENGTH_BYTES])
        head, steps = data[_LENGTH_BYTES:][:length], data[_LENGTH_BYTES + length :]
        return codec.unpack(JournalledTask, head), steps
    except (OSError, WireError):
        return None
