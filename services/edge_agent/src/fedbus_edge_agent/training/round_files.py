"""Files that a round leaves for the next one: `{job}~{round}{suffix}` in one folder.

A round begins with the file of the latest earlier round, also when the round is repeated. Kept are
the last two rounds of each of the last few jobs: an agent is not always told when a job ends.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.model.layout import Weights
from fedbus.model.npz import write_npz

MAX_JOBS_WITH_FILES: Final = 8
KEPT_ROUNDS: Final = 2


@dataclass(frozen=True, slots=True)
class RoundFiles:
    """The files of one suffix, such as `.state`; the first `save` creates the folder."""

    folder: Path
    suffix: str

    def latest_before(self, job: str, round_: int) -> Path | None:
        """Return the file of the latest round of a job before a round."""
        found = [path for number, path in self._of(job) if number < round_]
        return found[-1] if found else None

    def save(self, job: str, round_: int, arrays: Weights) -> None:
        """Write a round's arrays as .npz, and remove files that no round will begin with.

        Raises:
            StoreError: The disk is full, or not writable.
        """
        path = self.folder / f"{job}~{round_}{self.suffix}"
        with os_errors_as_store_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with os_errors_as_store_errors(path):
            write_npz(path, arrays)
        self._prune(job, round_)

    def remove(self, job: str) -> None:
        """Remove the files of a job, as far as the disk allows it."""
        for _, path in self._of(job):
            with suppress(OSError):
                path.unlink()

    def _of(self, job: str) -> list[tuple[int, Path]]:
        paths = self.folder.glob(f"{job}~*{self.suffix}")
        rounds = ((path.name.removesuffix(self.suffix).rpartition("~")[2], path) for path in paths)
        return sorted((int(number), path) for number, path in rounds if number.isdecimal())

    def _prune(self, job: str, last: int) -> None:
        for number, path in self._of(job):
            # Files of later rounds are those of an older job of the same name.
            if not last - KEPT_ROUNDS < number <= last:
                path.unlink(missing_ok=True)
        newest: dict[str, float] = {}
        for path in self.folder.glob(f"*~[0-9]*{self.suffix}"):
            name = path.name.partition("~")[0]
            newest[name] = max(newest.get(name, 0.0), path.stat().st_mtime)
        by_age = sorted(newest.keys() - {job}, key=newest.__getitem__)
        for name in by_age[: 1 - MAX_JOBS_WITH_FILES]:
            self.remove(name)
