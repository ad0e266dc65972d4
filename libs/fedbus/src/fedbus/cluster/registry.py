"""Registry of the clusters that run on this machine, for other commands.

The home of a cluster holds `cluster.json` (readable by its owner only: it contains the password)
and `lock`, which `fedbus up` locks while it runs; without the lock, `cluster.json` is of a killed
cluster and ignored. The user's state folder has a link to every home that was started.
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
    """Description of a running cluster."""

    home: str
    pid: int
    broker: str = field(repr=False)
    """URL of the broker, with the user's name and password."""
    started: float = 0.0
    """Wall-clock time of the start, in seconds since 1970."""
    processes: dict[str, int] = field(default_factory=dict)
    http: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> BrokerAddress:
        """Address of the broker, with the user's login."""
        return BrokerAddress.parse(self.broker)

    @property
    def agents(self) -> int:
        """Number of running agents."""
        return sum(role_of(node) == "agent" for node in self.processes)


class HomeLock:
    """Lock of a home: while it is held, no other cluster can start there.

    Raises:
        SettingsError: another cluster runs there, or the folder cannot be used.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._lock = -1
        self._made: tuple[Path, ...] = ()
        """The folders that were created: the home and its parents, the home first."""

    def __enter__(self) -> Self:
        self._made = tuple(one for one in (self.home, *self.home.parents) if not one.exists())
        try:
            while not self._locked():
                os.close(self._lock)
        except BlockingIOError:
            os.close(self._lock)
            running = read(self.home)
            who = f" (process {running.pid})" if running else ""
            raise SettingsError(
                f"{self.home}: a cluster runs there already{who}; `fedbus down --cluster "
                f"{quote(str(self.home))}` ends it, `fedbus up --cluster DIR` starts another one"
            ) from None
        except (FileExistsError, NotADirectoryError) as error:
            raise SettingsError(
                f"{self.home}: expected a folder, found a file; --cluster names another folder"
            ) from error
        except OSError as error:
            raise SettingsError(
                f"{self.home}: the cluster's folder cannot be created ({error.strerror}); "
                "--cluster names another folder"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        (self.home / STATE).unlink(missing_ok=True)
        with suppress(OSError):
            _link_of(self.home).unlink(missing_ok=True)
        with suppress(OSError):  # it is gone, or one of its parents is in use
            if [one.name for one in self.home.iterdir()] == [LOCK]:
                (self.home / LOCK).unlink()
                for folder in self._made:
                    folder.rmdir()
        os.close(self._lock)

    def keep(self) -> None:
        """Keep a created home: from now on it holds data of the user."""
        self._made = ()

    def undo(self) -> None:
        """Delete the content of a created home, after a start that failed."""
        if self.home in self._made:
            for one in self.home.iterdir():
                if one.is_dir():
                    shutil.rmtree(one, ignore_errors=True)
                elif one.name != LOCK:
                    one.unlink()

    def _locked(self) -> bool:
        """Lock the file; return whether it is still the present one, not removed meanwhile."""
        lock = self.home / LOCK
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock.exists() and os.path.samestat(lock.stat(), os.fstat(self._lock))

    def publish(self, cluster: RunningCluster, *, register: bool = True) -> None:
        """Write the description; with `register`, also link it for commands without a home."""
        described = json.dumps(asdict(cluster), indent=1).encode()
        atomic_write(self.home / STATE, described, mode=PRIVATE)
        if register:
            with suppress(OSError):  # then only commands that name its home find it
                _register(self.home)


def read(home: Path) -> RunningCluster | None:
    """Read the description in a home, of a running or an ended cluster; None if there is none."""
    try:
        return RunningCluster(**json.loads((home / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def alive(home: Path) -> bool:
    """Return whether a cluster runs in a home: whether its lock is held."""
    try:
        lock = os.open(home / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # F_OFD_GETLK does not see flock's locks, so it is locked for a moment.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def find(
    home: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> RunningCluster | None:
    """Find the running cluster of a home, or the newest one on this machine.

    If several run and no home is named, `tell` is called with a sentence on which one is used.
    """
    found = candidates(home)
    if not found:
        return None
    newest, *others = found
    if others:
        tell(
            f"{len(found)} clusters run here; this command uses {newest.home}, the newest. "
            f"--cluster DIR chooses another: {', '.join(one.home for one in others)}"
        )
    return newest


def candidates(home: Path | None) -> list[RunningCluster]:
    """List the running clusters that a command may use: of a home, else all, newest first."""
    if home is None:
        return running()
    found = read(home) if alive(home) else None
    return [] if found is None else [found]


def running() -> list[RunningCluster]:
    """List the running clusters of this user on this machine, the newest first."""
    found = [cluster for home in _registered() if (cluster := read(home))]
    return sorted(found, key=lambda cluster: -cluster.started)


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for the state of a user's programs (XDG Base Directory)."""
    given = environ.get("XDG_STATE_HOME", "")
    return Path(given or Path.home() / ".local/state") / "fedbus"


def default_home() -> Path:
    """Return the default home of `fedbus up`."""
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
