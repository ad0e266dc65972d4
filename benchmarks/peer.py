"""Flower for comparison: its server and clients, one process each, through all blocks."""

import json
import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from benchmarks.measure import cpu_seconds, peak_mb
from fedbus.mqtt.mosquitto import free_port

PEERS = Path(__file__).parent / "peers"
START_SECONDS = 60.0


class Peer:
    """Flower's processes; `with Peer(…) as peer` starts and ends them."""

    def __init__(self, python: str, agents: int, parameters: int, rounds: int) -> None:
        self._port = free_port()
        self._python = python
        # otherwise it sends telemetry at its start
        self._environ = os.environ | {"FLWR_TELEMETRY_ENABLED": "0"}
        sizes = (str(agents), str(parameters), str(rounds))
        self._server = self._start("flower_server.py", *sizes, stdin=subprocess.PIPE)
        self._agents = agents
        self._clients: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            _wait_for(self._port)  # a client that finds no server exits
            for _ in range(self._agents):
                self._clients.append(self._start("flower_client.py"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._server, *self._clients):
            process.kill()
            process.communicate()

    def block(self, rounds: int) -> list[float]:
        """Run some rounds; return the seconds of each."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{rounds}\n".encode())
        self._server.stdin.flush()
        lines = [json.loads(self._server.stdout.readline()) for _ in range(rounds)]
        return [line["seconds"] for line in lines]

    def peak_mb(self) -> float:
        """Return the server's peak memory in MB."""
        return peak_mb(self._server.pid)

    def cpu(self) -> float:
        """Return the processor time of all its processes in seconds."""
        return sum(cpu_seconds(process.pid) for process in (self._server, *self._clients))

    def _start(self, script: str, *arguments: str, **pipes: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - Popen's own
        return subprocess.Popen(
            [self._python, str(PEERS / script), str(self._port), *arguments],
            stdout=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environ,
            **pipes,
        )


def _wait_for(port: int) -> None:
    """Wait until a process listens on the port."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(0.1)
    raise TimeoutError(f"the peer does not listen on port {port}; does it run at all?")
