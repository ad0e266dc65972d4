"""A real Mosquitto for the tests of the bus."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from fedbus.mqtt.mosquitto import LocalBroker

ACCOUNTS = {
    name: f"secret of {name}"
    for name in (
        *("agent.a", "agent.b", "agent.crashed", "agent.killed", "agent.left"),
        *("collector.1", "controller.1", "repository.1", "user.cli"),
    )
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A broker with accounts and access rules that the tests of a module share."""
    with LocalBroker(tmp_path_factory.mktemp("broker"), accounts=ACCOUNTS) as shared:
        yield shared


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[LocalBroker]:
    """A broker for one test, that may kill it."""
    with LocalBroker(tmp_path / "broker", accounts=ACCOUNTS) as own:
        yield own


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that is its own authority, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    options = ["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]
    options += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *options, *subject, *files], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def connected() -> Iterator[tuple[Client, socket.socket]]:
    """A paho client that has sent its login, and the other end of its connection."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        client.connect("127.0.0.1", server.getsockname()[1])
        far, _ = server.accept()
    with far:
        yield client, far
        client.disconnect()
        client.loop_write()
