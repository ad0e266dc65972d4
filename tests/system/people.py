"""`fedbus up` and the commands, run as people run them."""

import asyncio
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil
import pytest

from fedbus.cli.commands.clusters import mosquitto_options
from fedbus.client.address import BrokerLogin, find_login
from fedbus.client.asyncio_client import Client
from fedbus.cluster import registry
from fedbus.cluster.registry import RunningCluster
from fedbus.errors import FedbusError
from fedbus.wire.documents import JobState
from tests.sigint import sigint_enabled

FEDBUS = (sys.executable, "-m", "fedbus.cli")
START_SECONDS = 120.0
COMMAND_SECONDS = 90.0
STOP_SECONDS = 30.0

T = TypeVar("T")


def until(what: str, look: Callable[[], T | None], seconds: float = 30.0) -> T:
    """Wait for a condition, and return what it found; `what` stands in the failure."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def left_of(folder: Path) -> list[str]:
    """Name the processes that were told of a folder and still run, by their command lines."""
    found = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), *process.environ().values()]
            if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in t for t in told):
                found.append(f"{process.pid}: {shlex.join(process.cmdline())}")
        except psutil.Error:
            continue
    return found


class Up:
    """A cluster that a person started with `fedbus up`, and a shell beside it.

    Args:
        folder: Where everything lies; the cluster's home is in it.
        options: Of `fedbus up`.
        environ: More environment of `fedbus up`.
    """

    def __init__(
        self, folder: Path, *options: str, environ: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._log = folder / "up.log"
        self._environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FEDBUS_")},
            "XDG_STATE_HOME": str(folder / "state"),
            "COLUMNS": "200",
        }
        line = [*FEDBUS, "up", "--home", str(self.home), *options]
        with self._log.open("wb") as log, sigint_enabled():
            self.process = subprocess.Popen(
                line,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**self._environ, **(environ or {})},
            )

    def __enter__(self) -> Self:
        try:
            until("the cluster is ready", self._ready, START_SECONDS)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.interrupt()

    @property
    def said(self) -> str:
        """All that `fedbus up` has printed."""
        return self._log.read_text(encoding="utf-8")

    @property
    def place(self) -> RunningCluster:
        """What it tells other commands."""
        return until("cluster.json", lambda: registry.read(self.home))

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a `fedbus` command in the folder."""
        return subprocess.run(
            [*FEDBUS, *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            cwd=self.folder,
            env=self._environ,
        )

    def ask(self, *words: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Run a command that must succeed, and read what it prints for programs."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def python(self, script: str) -> str:
        """Run a script in the folder, and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", script],
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            cwd=self.folder,
            env=self._environ,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def state(self, job: str) -> JobState | None:
        """Read where a job stands, without the price of a process."""
        return asyncio.run(self._state(find_login({}, self.home), job))

    async def _state(self, here: BrokerLogin, job: str) -> JobState | None:
        try:
            async with Client(here) as fed:
                return (await fed.job(job)).state
        except FedbusError:  # the broker may just be dead, or the job not known yet
            return None

    def round(self, job: str) -> int:
        """How many rounds of a job are done."""
        state = self.state(job)
        return state.round if state else 0

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a `fedbus` command that stays."""
        with sigint_enabled():
            return subprocess.Popen(
                [*FEDBUS, *words],
                stdout=subprocess.PIPE,
                text=True,
                cwd=self.folder,
                env=self._environ,
            )

    def mosquitto(self, program: str, *words: str) -> list[str]:
        """Write a foreign client's command line: MQTT 5, the person's account.

        Skips the test where the program is not installed.
        """
        found = shutil.which(f"mosquitto_{program}")
        if found is None:
            pytest.skip(f"mosquitto_{program} is not installed")
        return [found, *mosquitto_options(self.place.address), *words]

    def foreign(self, program: str, *words: str) -> str:
        """Run a foreign client to its end, and return what it printed."""
        done = subprocess.run(
            self.mosquitto(program, *words, "-W", "20"),
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill(self, node: str) -> None:
        """Kill a member with -9, and wait until it is started again."""
        old = self.place.processes[node]
        os.kill(old, signal.SIGKILL)
        until(f"{node} lives again", lambda: self.place.processes.get(node, old) != old)

    def interrupt(self) -> int:
        """Press Ctrl-C, and wait for the end; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def write(self, name: str, content: object) -> str:
        """Write a JSON file into the folder, and return its path."""
        (self.folder / name).write_text(json.dumps(content), encoding="utf-8")
        return str(self.folder / name)

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"`fedbus up` ended:\n{self.said}"
        return "Ctrl-C ends it." in self.said


def digits_job(name: str, **changes: object) -> dict[str, object]:
    """A job for three agents that ends after two rounds."""
    return {
        "training_id": name,
        "model_name": "digits",
        "num_rounds": 2,
        "config": [{"batch_size": 16, "epochs": 2, "learning_rate": 0.2}],
        "round": {"agents": 3, "quorum": 2, "deadline_seconds": 60},
        **changes,
    }
