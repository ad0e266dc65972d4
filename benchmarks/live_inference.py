"""An inference service as a process, with a broker and a repository that has one model: digits."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from benchmarks.one_model import repository
from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.mosquitto import LocalBroker, free_port

PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class LiveService:
    """Where a running service is, and its process.

    Attributes:
        http: `host:port` of HTTP.
        grpc: `host:port` of gRPC.
    """

    http: str
    grpc: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Send a GET request; return status and body."""
        return self.send(path, None, **headers)[:2]

    def send(
        self, path: str, body: bytes | None, **headers: str
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Send a request, POST if it has a body; return status, body and headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(f"http://{self.http}{path}", body, named)
        try:
            with urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - http
                return answer.status, answer.read(), dict(answer.headers)
        except HTTPError as error:
            with error:
                return error.code, error.read(), dict(error.headers)

    def until_log(self, words: str) -> None:
        """Wait until the log has these words, or raise TimeoutError with the log."""
        until = time.monotonic() + PATIENCE_SECONDS
        while words not in self.log.read_text():
            if time.monotonic() > until or self.process.poll() is not None:
                raise TimeoutError(self.log.read_text())
            time.sleep(POLL_SECONDS)

    def until_ready(self, model: str = "digits") -> None:
        """Wait until the model answers, or raise TimeoutError with the log."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if self.get(f"/v2/models/{model}/ready")[0] == 200:
                    return
            except URLError:
                pass
            time.sleep(POLL_SECONDS)
        raise TimeoutError(self.log.read_text())


@contextmanager
def live_service(
    folder: Path,
    broker: BrokerAddress | None = None,
    *,
    python: str = sys.executable,
    **settings: str,
) -> Iterator[LiveService]:
    """Run a service in this block, by default open on loopback; without a broker, alone."""
    http, grpc = (f"127.0.0.1:{free_port()}" for _ in range(2))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FEDBUS_")}
    environ |= {
        "FEDBUS_BROKER": "none" if broker is None else broker.url,
        "FEDBUS_HTTP": http,
        "FEDBUS_GRPC": grpc,
        "FEDBUS_HTTP_OPEN": "true",
        "FEDBUS_HOME": str(folder / "home"),
    }
    environ |= {f"FEDBUS_{name.upper()}": value for name, value in settings.items()}
    log = folder / "inference.log"
    with log.open("ab") as lines:
        process = subprocess.Popen(
            [python, "-m", "fedbus_inference"],
            env={name: value for name, value in environ.items() if value},
            stderr=lines,
        )
    try:
        yield LiveService(http, grpc, process, log)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@contextmanager
def digits_repository(folder: Path) -> Iterator[BrokerAddress]:
    """Run a broker, and a repository with the digits model on it, in this block."""
    with LocalBroker(folder) as local:
        broker = local.address()
        process = subprocess.Popen([sys.executable, "-m", __name__, broker.url])
        try:
            yield broker
        finally:
            process.kill()
            process.wait()


async def serve_digits(broker: str) -> None:
    """Serve the digits model until the process is killed."""
    async with repository(BrokerAddress.parse(broker)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_digits(sys.argv[1]))
