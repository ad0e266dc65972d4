"""How other commands find a cluster that runs on this machine.

Its home holds `cluster.json` (readable by its owner alone: it names the password) and `lock`, which
`fedbus up` holds locked as long as it lives, so a file left behind by a killed one deceives nobody.
A link in the user's state folder leads to every home that was started.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from typing import Self

from fedbus.atomic_write import PRIVATE, atomic_write
from fedbus.errors import SettingsError
from fedbus.mqtt.bus import BrokerAddress
from fedbus.wire.identifiers import role_of

STATE = "cluster.json"
LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCluster:
    """A running cluster, as it describes itself."""

    home: str
    pid: int
    broker: str = field(repr=False)
    """The address, with the person's user name and password."""
    started: float = 0.0
    """Seconds of the wall clock, to tell the newest."""
    processes: dict[str, int] = field(default_factory=dict)
    http: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> BrokerAddress:
        """Where its broker is, and the person's login there."""
        return BrokerAddress.parse(self.broker)

    @property
    def agents(self) -> int:
        """How many agents run."""
        return sum(role_of(node) == "agent" for node in self.processes)


class HomeLock:
    """The right to be the cluster of a home, for as long as the block lasts.

    Raises:
        SettingsError: another cluster lives there, or the folder cannot be used.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._lock = -1
        self._made: tuple[Path, ...] = ()
        """The home and those of its parents that were not there, inmost first."""

    def __enter__(self) -> Self:
        self._made = tuple(one for one in (self.home, *self.home.parents) if not one.exists())
        try:
            while not self._locked():
                os.close(self._lock)
        except BlockingIOError:
            os.close(self._lock)
            place = read(self.home)
            who = f" (process {place.pid})" if place else ""
            raise SettingsError(
                f"{self.home}: a cluster runs there already{who}; `fedbus down --cluster "
                f"{quote(str(self.home))}` ends it, `fedbus up --cluster DIR` starts another one"
            ) from None
        except (FileExistsError, NotADirectoryError) as error:
            raise SettingsError(
                f"{self.home}: a file is in its way; --cluster names a folder for the cluster"
            ) from error
        except OSError as error:
            raise SettingsError(
                f"{self.home}: no home for a cluster can be made there ({error.strerror}); "
                "--cluster names another folder"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        (self.home / STATE).unlink(missing_ok=True)
        with suppress(OSError):
            _link_of(self.home).unlink(missing_ok=True)
        with suppress(OSError):  # it is gone, or somebody is at home in one of its parents by now
            if [one.name for one in self.home.iterdir()] == [LOCK]:
                (self.home / LOCK).unlink()
                for folder in self._made:
                    folder.rmdir()
        os.close(self._lock)

    def keep(self) -> None:
        """From now on the home holds what somebody may miss."""
        self._made = ()

    def undo(self) -> None:
        """Take back what a cluster that never lived has left in a home that was made for it."""
        if self.home in self._made:
            for one in self.home.iterdir():
                if one.is_dir():
                    shutil.rmtree(one, ignore_errors=True)
                elif one.name != LOCK:
                    one.unlink()

    def _locked(self) -> bool:
        """Lock the file that is there: whoever had the home last may just have removed theirs."""
        lock = self.home / LOCK
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock.exists() and os.path.samestat(lock.stat(), os.fstat(self._lock))

    def publish(self, place: RunningCluster, *, register: bool = True) -> None:
        """Let others find it; with `register`, also those who do not know its home."""
        described = json.dumps(asdict(place), indent=1).encode()
        atomic_write(self.home / STATE, described, mode=PRIVATE)
        if register:
            with suppress(OSError):  # then it is found only by those who name its home
                _register(self.home)


def read(home: Path) -> RunningCluster | None:
    """Read what a home says of its cluster, alive or not."""
    try:
        return RunningCluster(**json.loads((home / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def alive(home: Path) -> bool:
    """Tell whether a cluster lives in a home: whether its lock is held."""
    try:
        lock = os.open(home / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # F_OFD_GETLK and its like do not see flock's locks; taking it for a moment does.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def find(
    home: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> RunningCluster | None:
    """Find the running cluster of a home, or the one on this machine that was started last.

    Where several run and no home is named, `tell` gets a sentence about which one was chosen.
    """
    found = candidates(home)
    if not found:
        return None
    newest, *others = found
    if others:
        tell(
            f"{len(found)} clusters run here; this speaks to {newest.home}, the newest. "
            f"--cluster DIR chooses another: {', '.join(one.home for one in others)}"
        )
    return newest


def candidates(home: Path | None) -> list[RunningCluster]:
    """List the running clusters that a command may mean: that of a home, else all, newest first."""
    if home is None:
        return running()
    place = read(home) if alive(home) else None
    return [] if place is None else [place]


def running() -> list[RunningCluster]:
    """List the running clusters of this user on this machine, the newest first."""
    places = [place for home in _registered() if (place := read(home))]
    return sorted(places, key=lambda place: -place.started)


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where a user's programs keep what they must not forget."""
    given = environ.get("XDG_STATE_HOME", "")
    return Path(given or Path.home() / ".local/state") / "fedbus"


def default_home() -> Path:
    """The home of `fedbus up` when none is given."""
    return state_folder() / "local"


def _links() -> Path:
    return state_folder() / "clusters"


def _link_of(home: Path) -> Path:
    return _links() / hashlib.sha256(str(home).encode()).hexdigest()[:16]


def _register(home: Path) -> None:
    link = _link_of(home)
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        link.symlink_to(home)


def _registered() -> Iterator[Path]:
    with suppress(OSError):
        for link in _links().iterdir():
            if alive(link):
                yield link.resolve()
            else:
                link.unlink()  # its home is gone, or its cluster was killed
