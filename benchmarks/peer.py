"""Run the peer: Flower's server and its clients, one process each."""

import json
import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedbus.bus.broker import free_port

PEERS = Path(__file__).parent / "peers"
PATIENCE_SECONDS = 900.0
START_SECONDS = 60.0


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(0.1)
    raise TimeoutError(f"the peer does not listen on port {port}; does it run at all?")


def run(python: str, agents: int, parameters: int, rounds: int) -> tuple[list[float], float]:
    """Run so many rounds; returns the seconds of each but the first, and the server's peak, MB."""
    port = str(free_port())
    environ = os.environ | {"FLWR_TELEMETRY_ENABLED": "0"}  # or it calls home as it starts
    quiet: dict[str, Any] = {"stderr": subprocess.DEVNULL, "env": environ}
    server = subprocess.Popen(
        [python, str(PEERS / "flower_server.py"), port, str(agents), str(parameters), str(rounds)],
        stdout=subprocess.PIPE,
        **quiet,
    )
    client = [python, str(PEERS / "flower_client.py"), port]
    clients = [subprocess.Popen(client, stdout=subprocess.DEVNULL, **quiet) for _ in range(agents)]
    try:
        said, _ = server.communicate(timeout=PATIENCE_SECONDS)
    finally:
        for process in (server, *clients):
            process.kill()
            process.wait()
    lines = [json.loads(line) for line in said.splitlines()]
    seconds = [line["seconds"] for line in lines if line.get("round", 1) > 1]
    return seconds, lines[-1]["peak_mb"]
