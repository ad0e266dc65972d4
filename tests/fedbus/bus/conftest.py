"""A real Mosquitto for the tests of the bus."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedbus.bus.broker import LocalBroker

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
