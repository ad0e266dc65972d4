"""Admission of model files to this process, with verdicts on disk.

A file is run once in a child process when this machine first has it with the installed runtime. The
verdict is stored under the file's digest, so that a restart neither repeats the trial nor crashes
again. While a process uses a file, a marker file exists; a file whose marker was left by several
processes in a row, which crashed while using it, is refused.
"""

import json
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Final

from fedbus.atomic_write import atomic_write
from fedbus.digest import digest_of
from fedbus.distributions import version_of
from fedbus.errors import TrainingError
from fedbus.frameworks.file_trial import FileCrash, TrialNotRun

MAX_DEATHS: Final = 5
"""Processes in a row that may end while they use a file; kill -9 counts as well."""
MAX_VERDICTS: Final = 256
_PASSED: Final = ""

_tried: dict[str, tuple[bool, str]] = {}


class FileAdmission:
    """Decides which files this process may open.

    Args:
        folder: Where verdicts are stored; None, or a folder that cannot be written, keeps them in
            memory only. Several processes may share it.
        node: Distinguishes the markers of several processes in one folder.
        tried: Verdicts of this process by digest: whether the file crashed its reader, and the
            reason; by default shared by all instances.
    """

    def __init__(
        self,
        folder: Path | None = None,
        node: str = "node",
        tried: MutableMapping[str, tuple[bool, str]] | None = None,
    ) -> None:
        self._folder = folder
        self._node = node
        self._tried = _tried if tried is None else tried

    def decide(
        self, data: bytes | bytearray, runtimes: Sequence[str], trial: Callable[[], None]
    ) -> str:
        """Try a verified file if it is new here, and return its digest.

        Args:
            data: The file.
            runtimes: Distributions that may run it; a verdict of other versions does not count.
            trial: Runs the file once; raises as `fedbus.frameworks.file_trial.run_trial` does.

        Raises:
            TrainingError: it does not run, or, as a `FileCrash`, ended a process that opened it.
            PluginError: no runtime is installed.
        """
        digest, by = digest_of(data), _by(runtimes)
        if (known := self._tried.get(digest) or self._read(digest, by)) is None:
            known = False, _PASSED
            try:
                trial()
            except TrialNotRun:
                raise  # nothing is known about the file
            except TrainingError as error:
                known = isinstance(error, FileCrash), str(error)
            self._write(digest, known, by)
        self._tried[digest] = known
        for oldest in list(self._tried)[:-MAX_VERDICTS]:
            self._tried.pop(oldest, None)
        killed, reason = known
        if reason:
            raise (FileCrash if killed else TrainingError)(reason)
        return digest

    @contextmanager
    def using(self, digest: str) -> Iterator[None]:
        """Mark a file as worked with, until the block ends, however it ends.

        Raises:
            FileCrash: several processes in a row have died in such a block.
        """
        marker = None if self._folder is None else self._folder / f"{digest}.{self._node}.using"
        deaths = _deaths(marker)
        if marker is not None and deaths >= MAX_DEATHS:
            raise FileCrash(
                f"{deaths} processes in a row died while they worked with the model file "
                f"{digest[:12]}; delete {marker} to try it again"
            )
        _write(marker, str(deaths + 1))
        try:
            yield
        finally:
            if marker is not None:
                with suppress(OSError):
                    marker.unlink(missing_ok=True)

    def _read(self, digest: str, by: str) -> tuple[bool, str] | None:
        if self._folder is None:
            return None
        try:
            verdict = json.loads((self._folder / f"{digest}.json").read_bytes())
        except (OSError, ValueError):
            return None
        match verdict:
            case {"killed": bool(killed), "reason": str(reason), "by": str(found)} if found == by:
                return killed, reason
        return None  # another runtime may accept it

    def _write(self, digest: str, known: tuple[bool, str], by: str) -> None:
        if self._folder is None:
            return
        verdict = {"killed": known[0], "reason": known[1], "by": by}
        _write(self._folder / f"{digest}.json", json.dumps(verdict))
        with suppress(OSError):
            verdicts = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
            for old in verdicts[:-MAX_VERDICTS]:
                old.unlink(missing_ok=True)


def _by(runtimes: Sequence[str]) -> str:
    """Return what a verdict depends on: the versions of fedbus and of the installed runtimes."""
    found = []
    for name in ("fedbus", *runtimes):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version_of(name)}")
    return ", ".join(found)


def _deaths(marker: Path | None) -> int:
    try:
        return 0 if marker is None else int(marker.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _write(path: Path | None, text: str) -> None:
    if path is None:
        return
    with suppress(OSError):  # the disk is full or read-only: the next process tries again
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text.encode(), shared=True)
