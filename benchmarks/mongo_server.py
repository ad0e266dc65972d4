"""A server with MongoDB's protocol for benchmarks: nx-27017, which stores in SQLite files.

Its figures are not those of MongoDB: they show what the repository adds to each round trip.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fedbus.cluster.process import die_with_parent_prefix
from fedbus.mqtt.mosquitto import free_port

START_SECONDS = 20.0
PROGRAM = "import sys; from nx_27017.nx_27017 import main; sys.exit(main())"


@contextmanager
def mongo_server() -> Iterator[str]:
    """Run a server in this block; yield the beginning of its databases' URLs."""
    port = free_port()
    with TemporaryDirectory(prefix="fedbus-bench-mongo-") as folder:
        place = Path(folder)
        process = subprocess.Popen(
            [
                *(*die_with_parent_prefix(), sys.executable, "-c", PROGRAM),
                *("--port", str(port)),
                *("--data-dir", str(place / "data")),
                *("--log-file", str(place / "log"), "--pid-file", str(place / "pid")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(process, port)
            yield f"mongodb://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit("the server of the benchmark did not start; is nx-27017 installed?")
