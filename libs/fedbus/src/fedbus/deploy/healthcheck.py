"""`python -m fedbus.deploy.healthcheck`: exit 0 if the service of this container is well, else 1.

It is asked every few seconds, so it imports next to nothing. What it looks at is what the service
was told: FEDBUS_HTTP, and it asks `/healthz` there; or FEDBUS_HEALTH_FILE, which the service
touches every heartbeat while it is connected to the broker.
"""

import os
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

PATIENCE_SECONDS = 3.0
HEARTBEATS = 3.0
"""A file not touched for so many is old."""


def reason(environ: Mapping[str, str], now: float) -> str:
    """Say why the service is not well; nothing if it is."""
    if door := environ.get("FEDBUS_HTTP"):
        return _of_door(int(door.rpartition(":")[2]))
    if file := environ.get("FEDBUS_HEALTH_FILE"):
        return _of_file(Path(file), float(environ.get("FEDBUS_HEARTBEAT_SECONDS") or 5.0), now)
    return "neither FEDBUS_HTTP nor FEDBUS_HEALTH_FILE is set"


def _of_door(port: int) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        said = answer.read(500).decode(errors="replace")
    except (OSError, HTTPException) as error:
        return f"/healthz does not answer: {error}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"/healthz: {answer.status} {said}"  # noqa: PLR2004 - OK


def _of_file(file: Path, heartbeat: float, now: float) -> str:
    try:
        age = now - file.stat().st_mtime
    except OSError as error:
        return f"{file}: {error.strerror}"
    return f"{file}: touched {age:.0f} s ago" if age > HEARTBEATS * heartbeat else ""


if __name__ == "__main__":
    sys.exit(reason(os.environ, time.time()) or 0)
