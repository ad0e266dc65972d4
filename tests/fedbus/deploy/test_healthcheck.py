"""Health check of a container."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from fedbus.deploy.healthcheck import reason
from fedbus.mqtt.mosquitto import free_port


@contextmanager
def _door(status: int, said: bytes) -> Iterator[int]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_service_is_well_if_healthz_says_so() -> None:
    """It is asked on loopback, whatever address the door is open on."""
    with _door(200, b"{}") as port:
        assert not reason({"FEDBUS_HTTP": f"0.0.0.0:{port}"}, now=0)


def test_a_service_is_ill_if_healthz_says_so_and_its_words_are_kept() -> None:
    """They are in `docker inspect`."""
    with _door(503, b'{"connected": false}') as port:
        why = reason({"FEDBUS_HTTP": f"0.0.0.0:{port}"}, now=0)
    assert why == '/healthz: 503 {"connected": false}'


def test_a_service_is_unhealthy_without_an_answer() -> None:
    """It has not opened its door yet, or hangs."""
    assert "does not answer" in reason({"FEDBUS_HTTP": f"0.0.0.0:{free_port()}"}, now=0)


def test_an_agent_is_well_while_its_file_is_young(tmp_path: Path) -> None:
    """Three heartbeats may be missed."""
    file = tmp_path / "healthy"
    file.touch()
    at, environ = file.stat().st_mtime, {"FEDBUS_HEALTH_FILE": str(file)}
    assert not reason(environ, at + 14)
    assert reason(environ, at + 16) == f"{file}: touched 16 s ago"
    assert not reason({**environ, "FEDBUS_HEARTBEAT_SECONDS": "10"}, at + 29)


def test_an_agent_without_its_file_is_ill(tmp_path: Path) -> None:
    """It has never reached the broker, or has ended."""
    why = reason({"FEDBUS_HEALTH_FILE": str(tmp_path / "healthy")}, now=0)
    assert why.endswith("No such file or directory")


def test_the_exit_code_and_the_words_are_the_answer() -> None:
    """That is all that the engine looks at."""
    done = subprocess.run(
        [sys.executable, "-m", "fedbus.deploy.healthcheck"],
        check=False,
        env={},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "neither FEDBUS_HTTP nor FEDBUS_HEALTH_FILE is set"


def test_the_check_imports_next_to_nothing() -> None:
    """It runs every few seconds, in every container."""
    heavy = (
        "[m for m in ('numpy', 'pydantic', 'asyncio', 'aiohttp', 'structlog') if m in sys.modules]"
    )
    code = f"import sys, fedbus.deploy.healthcheck; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
