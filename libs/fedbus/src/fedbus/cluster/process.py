"""Process of one member, over all its starts."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from fedbus.cluster import die_with_parent
from fedbus.cluster.backoff import RestartBackoff
from fedbus.cluster.members import Member, broker_of
from fedbus.mqtt.bus import BrokerAddress

LOG_TAIL_LINES = 15


def die_with_parent_prefix() -> list[str]:
    """Return the command prefix with which a program is killed when this process ends."""
    return [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())]


class Process:
    """Process of a member: start, stop and restart; its output goes to one log."""

    def __init__(self, member: Member, broker: BrokerAddress, password: str, log: Path) -> None:
        self.member = member
        self.log = log
        self.backoff = RestartBackoff()
        self.restart_at: float | None = None
        """Time of the restart, after an exit."""
        self._broker = broker_of(member, {member.node: password} if password else {}, broker)
        self._starts = 0
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def node(self) -> str:
        """Name of the node."""
        return self.member.node

    @property
    def pid(self) -> int | None:
        """Process id, while it runs."""
        return self._running.pid if self._running is not None and self.exit_code is None else None

    @property
    def exit_code(self) -> int | None:
        """Return code of the last start, as of `subprocess`; None while it runs."""
        return None if self._running is None else self._running.poll()

    def start(self, now: float) -> None:
        """Start the process. It is killed when the calling thread ends."""
        environment = self.member.environment(os.environ, self._broker, first=self._starts == 0)
        with self.log.open("ab" if self._starts else "wb") as log:
            self._running = subprocess.Popen(
                [*die_with_parent_prefix(), sys.executable, "-m", self.member.module],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C reaches only the cluster, which then stops its members
            )
        self._starts += 1
        self.restart_at = None
        self.backoff.started(now)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process runs."""
        if self._running is not None:
            self._running.send_signal(number)  # polls first, so a reused process id is not hit

    def reap(self) -> None:
        """Kill the process and wait for its end."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def peak_memory(self) -> int | None:
        """Return the peak resident memory in bytes; None where the system does not report it."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        except OSError:
            return None
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else None

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Return the last lines of the log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def cause_of(code: int) -> str:
    """Return how a process ended, by its return code."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"ended with exit code {code}"
