"""Encrypted total of a round's updates: the sum of their ciphertexts. Called in a worker thread.

This process parses no ciphertext: what an agent sends may crash the library that reads it. Another
process adds them, file to file, and a crash of that process costs the update that it was adding.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import TypeAlias
from weakref import finalize

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.blobs.spool import Spool
from fedbus.encryption.encrypted_blob import (
    MAX_ENCRYPTED_HEADER_BYTES,
    EncryptedHeader,
    read_encrypted_header,
)
from fedbus.errors import EncryptionError, FedbusError, StoreError, TransferError
from fedbus.plugins import UpdateFacts
from fedbus_collector.aggregation.combined_blocks import UsedCoefficients
from fedbus_collector.aggregation.sum_folder import SumFolder
from fedbus_collector.aggregation.verification import ArrivedUpdate, UnusableUpdate, UpdateChecks

AddUpdate: TypeAlias = Callable[[Path | None, Path, Path, EncryptedHeader], EncryptedHeader]
"""Writes the sum of a total, None before the first update, and an update into a file."""


class EncryptedTotal:
    """The sum of a round's encrypted updates, an encrypted blob in a file.

    Args:
        checks: What the strategy's parts check beside the ciphertexts.
        planned: The header of every update of the round, but for its count and weight.
        add: Adds ciphertexts in files, as `CollectorKey.add` does.
        place: Where the folder of the files is made; None: the system's for temporary files.
    """

    keeps_spools = False

    def __init__(
        self,
        checks: UpdateChecks,
        planned: EncryptedHeader,
        add: AddUpdate,
        place: Path | None = None,
    ) -> None:
        self._checks = checks
        self._planned = planned
        self._add_update = add
        self._place = place
        self._folder: Path | None = None
        self._remove: Callable[[], object] = lambda: None
        self._facts: dict[str, UpdateFacts] = {}

    def take(self, updates: Sequence[ArrivedUpdate]) -> dict[str, str]:
        """Verify and add each update; return the reason for each agent whose update is refused.

        Raises:
            StoreError: The disk is full.
        """
        refused: dict[str, str] = {}
        for update in updates:
            try:
                self._check(update)
                self._add(update)
            except StoreError:
                raise
            except FedbusError as error:
                refused[update.agent] = str(error)
            else:
                self._facts[update.agent] = update.facts
        return refused

    def _check(self, update: ArrivedUpdate) -> None:
        """Raise FedbusError unless an update is the offered one, and its header the planned one."""
        checks, facts, spool = self._checks, update.facts, update.spool
        mechanism = checks.mechanism
        reason = checks.aggregator.refuses(facts)
        if not reason and mechanism is not None:
            reason = mechanism.refuses_update(facts, checks.numbers)
        if reason:
            raise UnusableUpdate(reason)
        if update.agent in self._facts:
            raise UnusableUpdate("an update of this agent counts already")
        if spool.digest() != update.digest:
            raise TransferError("the update's bytes are not those of its digest")
        with spool.read(0, min(MAX_ENCRYPTED_HEADER_BYTES, spool.size)) as prefix:
            header, _ = read_encrypted_header(prefix, spool.size, checks.runs.layout)
        header.check_like(self._planned)
        if (header.count, header.weight) != (1, facts.examples):
            raise EncryptionError(
                f"expected the update of 1 agent with {facts.examples} examples, as offered, got "
                f"{header.count} with {header.weight}"
            )

    def _add(self, update: ArrivedUpdate) -> None:
        folder = self._folder_path()
        arrived, total, new = folder / "update", folder / "total", folder / "new"
        with os_errors_as_store_errors(folder):
            with arrived.open("wb") as file:
                for block in update.spool.blocks():
                    with block:
                        file.write(block)
            before = total if self._facts else None
            try:
                self._add_update(before, arrived, new, self._planned)
                new.replace(total)
            finally:
                arrived.unlink(missing_ok=True)

    def _folder_path(self) -> Path:
        """Return the folder, which is removed with the total, and when the process exits."""
        if self._folder is None:
            place = self._place or Path(gettempdir())
            with os_errors_as_store_errors(place):
                made = SumFolder(place)
            self._folder, self._remove = made.path, finalize(self, made.remove)
        return self._folder

    def facts(self, agents: Sequence[str]) -> tuple[UpdateFacts, ...]:
        """Return the facts of the updates of these agents, in this order."""
        return tuple(self._facts[agent] for agent in agents)

    @property
    def size(self) -> int:
        """The bytes of the sum; 0 before the first update."""
        if self._folder is None or not self._facts:
            return 0
        return (self._folder / "total").stat().st_size

    def write(self, agents: Sequence[str], out: Spool) -> UsedCoefficients:
        """Copy the sum into a spool of its `size`, and return each agent's share of the mean.

        Raises:
            EncryptionError: The sum is not that of these agents: it must not become a version.
            StoreError: The file cannot be read.
        """
        weights = {agent: facts.examples for agent, facts in self._facts.items()}
        if not weights or set(agents) != weights.keys():
            raise EncryptionError(f"a sum of {len(weights)} updates, where {len(agents)} count")
        path, at, total = self._folder_path() / "total", 0, sum(weights.values())
        with os_errors_as_store_errors(path), path.open("rb") as file:
            header, _ = read_encrypted_header(
                file.read(MAX_ENCRYPTED_HEADER_BYTES), out.size, self._checks.runs.layout
            )
            header.check_like(self._planned)
            if (header.count, header.weight) != (len(weights), total):
                raise EncryptionError(
                    f"a sum of {header.count} updates of the weight {header.weight}, where "
                    f"{len(weights)} of {total} were added"
                )
            file.seek(0)
            while block := file.read(1 << 20):
                out.write(at, block)
                at += len(block)
        shares = {agent: weights[agent] / total for agent in agents}
        return UsedCoefficients(agents=len(agents), updates=shares)

    def close(self) -> None:
        """Delete the files."""
        self._remove()
        self._folder = None
        self._facts.clear()
