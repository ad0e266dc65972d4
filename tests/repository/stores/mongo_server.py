"""A server for tests that answers MongoDB's wire protocol, as a process: nx-27017, on real files.

What it cannot show (logins, replica sets, write concern) is tested from the driver's commands.
"""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fedbus.cluster.process import die_with_parent_prefix
from fedbus.mqtt.mosquitto import free_port

START_SECONDS = 20.0


class MongoServer:
    """One server process; it may be killed, frozen and started again on the same files and port.

    Attributes:
        port: TCP port on 127.0.0.1.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def url(self, database: str) -> str:
        """Return the URL of a database, which exists as soon as it is written."""
        return f"mongodb://{self.address}/{database}"

    def start(self) -> None:
        """Start the process and wait until it accepts connections."""
        self._folder.mkdir(parents=True, exist_ok=True)
        program = "import sys; from nx_27017.nx_27017 import main; sys.exit(main())"
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(*die_with_parent_prefix(), sys.executable, "-c", program),
                    *("--data-dir", str(self._folder / "data")),
                    *("--port", str(self.port)),
                    *("--log-file", str(self._folder / "log")),
                    *("--pid-file", str(self._folder / "pid")),
                ],
                stdout=output,
                stderr=output,
            )
        self._wait()

    def start_if_stopped(self) -> None:
        """Bring the server back for the next test."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        self.thaw()

    def stop(self) -> None:
        """End the process as an operator does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process with SIGKILL, at any write."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process; the kernel still accepts connections for it."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue a frozen process."""
        self._send(signal.SIGCONT)

    def chunks(self, database: str) -> set[str]:
        """Return the digests of all blobs that have chunks on the server's disk."""
        with self._files(database) as files:
            if not files.execute("SELECT 1 FROM sqlite_master WHERE name = 'fs_chunks'").fetchall():
                return set()
            rows = files.execute(
                "SELECT DISTINCT coalesce(fs_files._id, 'orphan') FROM fs_chunks"
                " LEFT JOIN fs_files ON fs_files.id = fs_chunks.files_id"
            )
            return {str(digest) for (digest,) in rows}

    def change_chunk(self, database: str, digest: str, index: int, data: bytes | None) -> None:
        """Change one chunk of a blob on the server's disk, or, with None, remove it."""
        where = "WHERE n = ? AND files_id = (SELECT id FROM fs_files WHERE _id = ?)"
        with self._files(database) as files:
            if data is None:
                changed = files.execute(f"DELETE FROM fs_chunks {where}", (index, digest))  # noqa: S608 - a constant
            else:
                changed = files.execute(
                    f"UPDATE fs_chunks SET data = ? {where}",  # noqa: S608 - a constant
                    (data, index, digest),
                )
            assert changed.rowcount == 1

    @contextmanager
    def _files(self, database: str) -> Iterator[sqlite3.Connection]:
        path = self._folder / "data" / f"{database}.db"
        with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            yield connection

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        output = (self._folder / "output").read_text(errors="replace")
        self.kill()
        raise RuntimeError(f"the MongoDB test server did not start:\n{output[-2000:]}")
