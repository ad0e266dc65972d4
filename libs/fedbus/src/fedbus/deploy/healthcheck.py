"""Health check of a container: `python -m fedbus.deploy.healthcheck` exits with 0 or 1.

It reads the settings of the service: with FEDBUS_HTTP it requests `/healthz`; with
FEDBUS_HEALTH_FILE it checks the mtime of the file, which the service touches at every heartbeat
while it is connected to the broker. It runs every few seconds, so it imports very little.
"""

import os
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from fedbus.runtime.heartbeat import HEARTBEAT_SECONDS

HTTP_TIMEOUT_SECONDS = 3.0
MAX_MISSED_HEARTBEATS = 3.0


def reason(environ: Mapping[str, str], now: float) -> str:
    """Return why the service is unhealthy; "" if it is healthy."""
    if address := environ.get("FEDBUS_HTTP"):
        return _check_http(int(address.rpartition(":")[2]))
    if file := environ.get("FEDBUS_HEALTH_FILE"):
        interval = float(environ.get("FEDBUS_HEARTBEAT_SECONDS") or HEARTBEAT_SECONDS)
        return _check_file(Path(file), interval, now)
    return "neither FEDBUS_HTTP nor FEDBUS_HEALTH_FILE is set"


def _check_http(port: int) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=HTTP_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        body = response.read(500).decode(errors="replace")
    except (OSError, HTTPException) as error:
        return f"/healthz does not answer: {error}"
    finally:
        connection.close()
    return "" if response.status == 200 else f"/healthz: {response.status} {body}"  # noqa: PLR2004 - OK


def _check_file(file: Path, heartbeat: float, now: float) -> str:
    try:
        age = now - file.stat().st_mtime
    except OSError as error:
        return f"{file}: {error.strerror}"
    return f"{file}: touched {age:.0f} s ago" if age > MAX_MISSED_HEARTBEATS * heartbeat else ""


if __name__ == "__main__":
    sys.exit(reason(os.environ, time.time()) or 0)
