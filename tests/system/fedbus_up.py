"""`fedbus up` and other commands, run as processes."""

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
    """Wait until `look` finds something, and return it; a failure quotes `what`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def processes_of(folder: Path) -> list[str]:
    """List running processes with a folder in their command line or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            texts = [*process.cmdline(), *process.environ().values()]
            if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in t for t in texts):
                found.append(f"{process.pid}: {shlex.join(process.cmdline())}")
        except psutil.Error:
            continue
    return found


class FedbusUp:
    """A cluster started with `fedbus up`, and commands that use it.

    Args:
        folder: The folder of all files; the cluster's home is in it.
        options: Options of `fedbus up`.
        environ: Additional environment variables of `fedbus up`.
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
    def output(self) -> str:
        """The output of `fedbus up` until now."""
        return self._log.read_text(encoding="utf-8")

    @property
    def running(self) -> RunningCluster:
        """The entry by which other commands find the cluster."""
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

    def run_to(self, name: str, *words: str) -> int:
        """Run a command whose standard output is a file of the folder; return the exit code."""
        with (self.folder / name).open("wb") as file:
            done = subprocess.run(
                [*FEDBUS, *words],
                check=False,
                stdout=file,
                timeout=COMMAND_SECONDS,
                cwd=self.folder,
                env=self._environ,
            )
        return done.returncode

    def run_json(self, *words: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Run a command with `--json` that must succeed, and return its output."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def python(self, script: str) -> str:
        """Run a script in the folder, and return its output."""
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
        """Return a job's state, in this process, which is faster than a command."""
        return asyncio.run(self._state(find_login({}, self.home), job))

    async def _state(self, here: BrokerLogin, job: str) -> JobState | None:
        try:
            async with Client(here) as fed:
                return (await fed.job(job)).state
        except FedbusError:  # the broker may just be dead, or the job not known yet
            return None

    def round(self, job: str) -> int:
        """Return the number of a job's finished rounds."""
        state = self.state(job)
        return state.round if state else 0

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a `fedbus` command that runs until it is stopped."""
        with sigint_enabled():
            return subprocess.Popen(
                [*FEDBUS, *words],
                stdout=subprocess.PIPE,
                text=True,
                cwd=self.folder,
                env=self._environ,
            )

    def mosquitto_command(self, program: str, *words: str) -> list[str]:
        """Return the command line of a foreign client: MQTT 5, with the user's account.

        Skips the test where the program is not installed.
        """
        found = shutil.which(f"mosquitto_{program}")
        if found is None:
            pytest.skip(f"mosquitto_{program} is not installed")
        return [found, *mosquitto_options(self.running.address), *words]

    def run_mosquitto(self, program: str, *words: str) -> str:
        """Run a foreign client to its end, and return its output."""
        done = subprocess.run(
            self.mosquitto_command(program, *words, "-W", "20"),
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill(self, node: str) -> None:
        """Kill a process of the cluster with SIGKILL, and wait until it is started again."""
        old = self.running.processes[node]
        os.kill(old, signal.SIGKILL)
        until(f"{node} runs again", lambda: self.running.processes.get(node, old) != old)

    def interrupt(self) -> int:
        """Send SIGINT, wait for the end, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def write(self, name: str, content: object) -> str:
        """Write a JSON file into the folder, and return its path."""
        (self.folder / name).write_text(json.dumps(content), encoding="utf-8")
        return str(self.folder / name)

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"`fedbus up` ended:\n{self.output}"
        return "Ctrl-C ends it." in self.output


def digits_job(name: str, **changes: object) -> dict[str, object]:
    """Return a job file for three agents that ends after two rounds."""
    return {
        "training_id": name,
        "model_name": "digits",
        "num_rounds": 2,
        "config": [{"batch_size": 16, "epochs": 2, "learning_rate": 0.2}],
        "round": {"agents": 3, "quorum": 2, "deadline_seconds": 60},
        **changes,
    }
