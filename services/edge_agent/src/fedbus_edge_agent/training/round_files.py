"""Files that a round leaves for the next one: `{job}~{round}{suffix}` in one folder.

The round after begins with what the last one left, and so does the same round done again. Of a job
the last two rounds are kept, and only the last few jobs: an agent is not told when a job is over.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedbus.errors import StoreError
from fedbus.model.layout import Weights
from fedbus.model.npz import write_npz

MAX_JOBS_WITH_FILES: Final = 8
KEPT_ROUNDS: Final = 2


@dataclass(frozen=True, slots=True)
class RoundFiles:
    """The files of one suffix, `.state` say; the folder is made when the first is kept."""

    folder: Path
    suffix: str

    def before(self, job: str, round_: int) -> Path | None:
        """Find what the last round before a round has left."""
        found = [path for number, path in self._of(job) if number < round_]
        return found[-1] if found else None

    def keep(self, job: str, round_: int, arrays: Weights) -> None:
        """Write what a round leaves, as .npz, and remove what nobody will begin with any more.

        Raises:
            StoreError: the disk is full, or not writable.
        """
        place = self.folder
        try:
            place.mkdir(parents=True, exist_ok=True)
            place /= f"{job}~{round_}{self.suffix}"
            write_npz(place, arrays)
        except OSError as error:
            raise StoreError(f"{place}: {error.strerror}") from error
        self._prune(job, round_)

    def forget(self, job: str) -> None:
        """Remove what is kept of a job, as far as that can be: its next round begins afresh."""
        for _, path in self._of(job):
            with suppress(OSError):
                path.unlink()

    def _of(self, job: str) -> list[tuple[int, Path]]:
        paths = self.folder.glob(f"{job}~*{self.suffix}")
        found = [(self._round(path), path) for path in paths]
        return sorted((number, path) for number, path in found if number is not None)

    def _round(self, path: Path) -> int | None:
        number = path.name.removesuffix(self.suffix).rpartition("~")[2]
        return int(number) if number.isdecimal() else None

    def _prune(self, job: str, last: int) -> None:
        for number, path in self._of(job):
            # What is of later rounds is of another job of the same name, long ago.
            if not last - KEPT_ROUNDS < number <= last:
                path.unlink(missing_ok=True)
        newest: dict[str, float] = {}
        for path in self.folder.glob(f"*~[0-9]*{self.suffix}"):
            name = path.name.partition("~")[0]
            newest[name] = max(newest.get(name, 0.0), path.stat().st_mtime)
        for name in sorted(newest.keys() - {job}, key=newest.__getitem__)[
            : 1 - MAX_JOBS_WITH_FILES
        ]:
            self.forget(name)
