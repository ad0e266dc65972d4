"""Sums of encrypted updates at a collector, computed in a worker process.

SEAL reads the ciphertexts of agents there, so bytes that crash it cost that one update only.
"""

import json
import os
import selectors
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final, cast

from fedbus.encryption.encrypted_blob import EncryptedHeader
from fedbus.encryption.sum_process import header_from
from fedbus.errors import EncryptionError, StoreError

ADD_SECONDS: Final = 120.0
"""The longest that one addition may take; a million numbers take 0.1 s."""
_MOST_ANSWER_BYTES: Final = 2**20


class SumProcess:
    """The worker process: started when it is first needed, and again after it ended.

    Not for several threads at once. `seconds` is the longest that one addition may take.
    """

    def __init__(self, public_key: Path, seconds: float = ADD_SECONDS) -> None:
        """Name the public key file of all sums; nothing is started yet."""
        self.seconds = seconds
        self._public_key = public_key
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process, if one was started and not found ended."""
        return self._process.pid if self._process is not None else None

    def add(
        self, total: Path | None, update: Path, out: Path, expected: EncryptedHeader
    ) -> EncryptedHeader:
        """Add an update to a sum, and return the header of the new sum.

        `out` is replaced in one step, and only if the whole update was added; it may be `total`.

        Args:
            total: The sum of the updates before; None if there are none.
            update: The file of the update.
            out: Where the new sum is written.
            expected: What all updates of the round have in their headers, from `planned_header`;
                with `with_sum(1, examples)` also what this one has.

        Raises:
            EncryptionError: The update is refused: the sum is as before.
            StoreError: A file cannot be read or written, or the process cannot start.
        """
        request = {
            "total": str(total) if total is not None else None,
            "update": str(update),
            "out": str(out),
            "expected": asdict(expected),
        }
        match self._answer(json.dumps(request).encode() + b"\n"):
            case {"added": dict(header)}:
                return header_from(header)
            case {"refused": str(reason)}:
                raise EncryptionError(reason)
            case {"failed": str(reason)}:
                raise StoreError(reason)
            case answer:
                raise EncryptionError(f"an answer that cannot be read: {str(answer)[:80]}")

    def close(self) -> None:
        """End the process, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _answer(self, request: bytes) -> Any:  # noqa: ANN401 - JSON
        process = self._running()
        if not _written(process, request):
            self.close()  # it ended before it read anything, so this update is not at fault
            process = self._running()
            _written(process, request)
        line = self._line(process)
        if not line.endswith(b"\n"):
            raise EncryptionError(self._ended())
        try:
            return json.loads(line)
        except ValueError:
            return line.decode(errors="replace").strip()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        command = [sys.executable, "-m", "fedbus.encryption.sum_process", str(self._public_key)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, and the key's path
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise StoreError(f"the process that adds ciphertexts: {error}") from error
        return self._process

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        """Return the next line of the process, or what it wrote until it ended or time was up."""
        file = cast("IO[bytes]", process.stdout).fileno()
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(file, selectors.EVENT_READ)
            while not line.endswith(b"\n") and len(line) < _MOST_ANSWER_BYTES:
                if not selector.select(self.seconds):
                    break
                block = os.read(file, _MOST_ANSWER_BYTES)
                if not block:
                    break
                line += block
        return line

    def _ended(self) -> str:
        """End the process, and say how it ended."""
        process = cast("subprocess.Popen[bytes]", self._process)
        self._process = None
        try:
            code = process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"adding this update took more than {self.seconds:g} s"
        process.communicate()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"the process that adds ciphertexts ended with {how} while it read this update"


def _written(process: "subprocess.Popen[bytes]", request: bytes) -> bool:
    """Write a request; return whether the process can still read one."""
    stdin = cast("IO[bytes]", process.stdin)
    try:
        stdin.write(request)
        stdin.flush()
    except BrokenPipeError:
        return False
    return True
