"""A Mosquitto process with a folder of its own: for `fedbus up`, the demo, benchmarks, tests."""

import os
import pwd
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from fedbus.atomic_write import PRIVATE, atomic_write
from fedbus.errors import BusError, SettingsError
from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.mosquitto_config import BrokerConfig, Rules, acl_file, password_file
from fedbus.wire.access_rules import access_rules

START_SECONDS = 10.0
STOP_SECONDS = 5.0
PORTS = range(20_000, 32_000)
PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "16777216"}
"""For glibc: else the memory of every chunk goes back to the kernel and is mapped again, a third of
the broker's time with models of 1 MB. Other C libraries do not look."""


def mosquitto() -> str:
    """Find the program.

    Raises:
        SettingsError: it is not installed; says how to.
    """
    found = shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), *PLACES)))
    if found is None:
        raise SettingsError(
            "Mosquitto, the MQTT broker, is not installed. Install it: 'make broker', or "
            "'sudo apt install mosquitto' (Debian, Ubuntu), 'brew install mosquitto' (macOS)"
        )
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """Find a TCP port that no process listens on just now.

    It lies below those the system hands to outgoing connections: there, a client that keeps trying
    a port whose broker is down can be given that very port, and meet itself.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with suppress(OSError), socket.create_server((host, port), family=family):
            return port
    raise BusError(f"{host}: no free port between {PORTS.start} and {PORTS.stop}")


class PortTaken(BusError):  # noqa: N818 - named for what happened
    """Another process listens on the port, perhaps since a moment ago."""


class LocalBroker:
    """A broker process; `with LocalBroker(home, accounts=…) as broker` starts and stops it.

    Without accounts it is open to every user of this machine, and listens on loopback only. To
    start and to stop it takes some ten milliseconds; an event loop calls both through a thread.
    `port` may be changed while it does not run.
    """

    def __init__(  # noqa: PLR0913 - by keyword, and the defaults are right for most
        self,
        home: Path,
        *,
        accounts: Mapping[str, str] | None = None,
        rules: Rules = access_rules,
        host: str = "127.0.0.1",
        port: int | None = None,
        sys_interval: int = 10,
        extra: Sequence[str] = (),
        launcher: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.accounts = dict(accounts or {})
        self.host = host
        self.port = free_port(host) if port is None else port
        self.log = home / "mosquitto.log"
        self._near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to connect to
        self._rules = rules
        self._launcher = launcher
        self._process: subprocess.Popen[bytes] | None = None
        self._sys_interval = sys_interval
        self._extra = tuple(extra)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and running else None

    def address(self, username: str | None = None) -> BrokerAddress:
        """Return the address for one of its accounts, or for any client of an open broker.

        Raises:
            SettingsError: there is no such account.
        """
        if not self.accounts:
            return BrokerAddress(self._near, self.port)
        if username not in self.accounts:
            raise SettingsError(
                f"the broker has no account {username!r}; it has {', '.join(self.accounts)}"
            )
        return BrokerAddress(self._near, self.port, username, self.accounts[username])

    def start(self) -> None:
        """Write its files, start it, and wait until it takes connections.

        After `stop` or `kill` it can be started again, on the same port.

        Raises:
            SettingsError: it is not installed, or would be open to other machines.
            PortTaken: another process listens on its port.
            BusError: it does not start; with its final log lines.
        """
        if self.pid is not None:
            return
        self._check_port()
        (self.home / "data").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write("mosquitto.conf", self._config().text())
        if self.accounts:
            self._write("passwords", password_file(self.accounts))
            self._write("acl", acl_file(self.accounts, self._rules))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the program we found, our own configuration
                [*self._launcher, mosquitto(), "-c", str(self.home / "mosquitto.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=KEEP_MEMORY | os.environ,
                process_group=0,  # Ctrl-C is for its parent, which then stops it last
            )
        self._wait()

    def stop(self) -> None:
        """End it with SIGTERM, after which it saves what it retains."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _write(self, name: str, text: str) -> None:
        atomic_write(self.home / name, text.encode(), mode=PRIVATE)

    def _config(self) -> BrokerConfig:
        return BrokerConfig(
            host=self.host,
            port=self.port,
            passwords=str(self.home / "passwords"),
            acl=str(self.home / "acl"),
            data=str(self.home / "data"),
            user=pwd.getpwuid(0).pw_name if os.geteuid() == 0 else "",
            open_profile=not self.accounts,
            sys_interval=self._sys_interval,
            extra=self._extra,
        )

    def _check_port(self) -> None:
        """Reject a port in use: another process's broker would seem to be ours."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            socket.create_server((self.host, self.port), family=family).close()
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise PortTaken(f"{self.host}:{self.port}: {why}; name another port") from error

    def _answers(self) -> bool:
        try:
            socket.create_connection((self._near, self.port), timeout=1.0).close()
        except OSError:
            return False
        return True

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while (pid := self.pid) is not None and time.monotonic() < until:
            if self._answers() and _listens(pid, self.port):
                return
            time.sleep(0.01)
        self.kill()
        self._check_port()
        words = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        raise BusError(f"{self.host}:{self.port}: Mosquitto does not start: {'; '.join(words)}")


def _listens(pid: int, port: int) -> bool:
    """Whether it is this process that listens, and no other that took the port meanwhile."""
    import psutil  # noqa: PLC0415 - only a process that starts a broker needs it

    with suppress(psutil.Error):
        return any(
            each.status == psutil.CONN_LISTEN and each.laddr.port == port
            for each in psutil.Process(pid).net_connections("tcp")
        )
    return False
