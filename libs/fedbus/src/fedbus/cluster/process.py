"""One member's process, over all its lives."""

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
    """The words before a program that let it die with this process."""
    return [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())]


class Process:
    """Start, end and start again; everything it says goes to one log."""

    def __init__(self, member: Member, broker: BrokerAddress, password: str, log: Path) -> None:
        self.member = member
        self.log = log
        self.restarts = RestartBackoff()
        self.restart_at: float | None = None
        """When it is started again, if it died."""
        self._broker = broker_of(member, {member.node: password} if password else {}, broker)
        self._lives = 0
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def node(self) -> str:
        """Its node's name."""
        return self.member.node

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        return self._running.pid if self._running is not None and self.ended is None else None

    @property
    def ended(self) -> int | None:
        """How its last life ended, as `subprocess` says it; None while it runs."""
        return None if self._running is None else self._running.poll()

    def start(self, now: float) -> None:
        """Begin a life. The thread that calls this must live as long as the process shall."""
        environment = self.member.environment(os.environ, self._broker, first=self._lives == 0)
        with self.log.open("ab" if self._lives else "wb") as log:
            self._running = subprocess.Popen(
                [*die_with_parent_prefix(), sys.executable, "-m", self.member.module],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is for the cluster, which then ends its members in order
            )
        self._lives += 1
        self.restart_at = None
        self.restarts.started(now)

    def signal(self, number: signal.Signals) -> None:
        """Tell it something, if it runs."""
        if self._running is not None:
            self._running.send_signal(number)  # polls first, so no stranger is meant

    def reap(self) -> None:
        """Kill it, and wait until it is gone."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def peak_memory(self) -> int | None:
        """The most memory it ever held, bytes; None where nobody tells."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        except OSError:
            return None
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else None

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The end of its log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def cause_of(code: int) -> str:
    """Say how a process ended."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"ended with exit code {code}"
