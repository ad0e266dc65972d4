"""`fedbus privacy show`: the repository's answer for people and for programs."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedbus.cli.main import app
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus.wire import codec
from fedbus.wire.messages import PrivacyShown, RequestRefused, ShowPrivacy
from fedbus.wire.refusals import refusal_of_request
from fedbus.wire.topics import ROOT
from tests.fedbus.cli.output.spent_privacy import job, shown

RUNNER = CliRunner()
ANSWER = shown(job())


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    """Start a broker with an account for the repository and one for a user."""
    with LocalBroker(tmp_path / "broker", accounts={"repository.1": "r", "user.cli": "u"}) as here:
        yield here


@contextmanager
def repository(broker: LocalBroker, answer: PrivacyShown | RequestRefused) -> Iterator[None]:
    """Answer each request of the user, in a thread of its own."""
    ready, end = threading.Event(), threading.Event()
    kind = "privacy_shown" if isinstance(answer, PrivacyShown) else "request_refused"
    reply = Packet(f"{ROOT}/link/repository.1/user.cli/{kind}", codec.pack(answer))

    async def serve() -> None:
        listen = [f"{ROOT}/link/user.cli/repository.1/+"]
        address = broker.address("repository.1")
        async with mqtt.connect(address, name="repository.1", listen=listen) as bus:
            ready.set()

            async def respond() -> None:
                async for _ in bus:
                    await bus.publish(reply)

            serving = asyncio.create_task(respond())
            await asyncio.to_thread(end.wait)
            serving.cancel()
            await asyncio.wait({serving})

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        end.set()
        thread.join()


def test_what_a_model_has_cost_is_shown(broker: LocalBroker) -> None:
    """As a table and a sentence; --json is the answer as it is."""
    line = ["--broker", broker.address("user.cli").url, "privacy", "show", "digits"]
    with repository(broker, ANSWER):
        told = RUNNER.invoke(app, line)
        assert told.exit_code == 0
        assert told.stdout.splitlines()[1].startswith("first\tdp-fixed\t3.21 of 4\t1e-05\t10\t12 ")
        assert "A person who has every version up to 11 of digits" in told.stdout
        plain = RUNNER.invoke(app, [*line, "--json"])
        assert codec.from_json(PrivacyShown, plain.stdout.encode()) == ANSWER
        assert json.loads(plain.stdout)["jobs"][0]["spent"]["epsilon"] == 3.2041


def test_an_unknown_model_is_refused(broker: LocalBroker) -> None:
    """With the repository's reason."""
    line = ["--broker", broker.address("user.cli").url, "privacy", "show", "digits"]
    refused = refusal_of_request(ShowPrivacy(model="digits"), "digits", "no model named 'digits'")
    with repository(broker, refused):
        told = RUNNER.invoke(app, line)
    assert told.exit_code == 4
    assert told.stderr == "fedbus: repository.1: no model named 'digits'\n"
