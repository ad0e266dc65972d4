"""State that a cluster keeps from one start to the next."""

import socket
import stat
from pathlib import Path

import pytest

from fedbus.cluster import ports, registry, saved_state
from fedbus.cluster.local import LocalCluster
from fedbus.cluster.members import USER, ClusterPlan
from fedbus.cluster.registry import HomeLock, RunningCluster
from fedbus.cluster.saved_state import SavedState
from fedbus.mqtt.mosquitto import free_port


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


async def started(plan: ClusterPlan, said: list[str] | None = None) -> LocalCluster:
    """Start a cluster's broker and end it."""
    cluster = LocalCluster(plan, report=(said if said is not None else []).append)
    async with cluster:
        cluster.start_broker()
    return cluster


async def test_a_cluster_that_is_started_again_is_found_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its port, every password and every HTTP door: watchers and dashboards go on."""
    monkeypatch.setattr(ports, "DEFAULT_PORT", free_port())
    home = tmp_path / "home"
    first = await started(ClusterPlan(home=home, agents=2, http=True))
    monkeypatch.setattr(ports, "DEFAULT_PORT", free_port())
    second = await started(ClusterPlan(home=home, agents=3, http=True))
    assert second.address == first.address
    assert {node: second.passwords[node] for node in first.passwords} == first.passwords
    assert {node: second.http[node] for node in first.http} == first.http
    assert set(second.passwords) - set(first.passwords) == {"agent.3"}
    third = await started(ClusterPlan(home=home, agents=1))
    fourth = await started(ClusterPlan(home=home, agents=3, http=True))
    assert third.address == first.address
    assert (fourth.passwords, fourth.http) == (second.passwords, second.http)


async def test_an_open_start_between_forgets_no_password(tmp_path: Path) -> None:
    """Who tries `--open` once has not said goodbye to the others."""
    port = free_port()
    first = await started(ClusterPlan(home=tmp_path, agents=1, port=port))
    opened = await started(ClusterPlan(home=tmp_path, agents=1, open=True))
    assert (opened.passwords, opened.address.port) == ({}, port)
    again = await started(ClusterPlan(home=tmp_path, agents=1))
    assert again.passwords == first.passwords


async def test_a_port_taken_meanwhile_is_reported(tmp_path: Path) -> None:
    """With who has it, and which one it is now; that one stays from then on."""
    first = await started(ClusterPlan(home=tmp_path, agents=1, port=free_port()))
    said: list[str] = []
    with socket.create_server(("127.0.0.1", first.address.port)):
        second = await started(ClusterPlan(home=tmp_path, agents=1), said)
    assert second.address.port != first.address.port
    (sentence,) = said
    assert sentence.startswith(f"port {first.address.port} is used by ")
    assert f"uses {second.address.port} from now on: run `fedbus env` again" in sentence
    assert second.passwords[USER] == first.passwords[USER]
    third = await started(ClusterPlan(home=tmp_path, agents=1))
    assert third.address == second.address


async def test_a_usual_port_that_is_taken_is_said_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No client knows the old one, so no hint is needed."""
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(ports, "DEFAULT_PORT", other.getsockname()[1])
        await started(ClusterPlan(home=tmp_path, agents=1), said)
    assert len(said) == 1
    assert said[0].endswith(" from now on")


def test_only_its_owner_reads_what_is_kept(tmp_path: Path) -> None:
    """It holds every password."""
    told = SavedState(port=1, passwords={"user.cli": "pw"}, http={"agent.1": "127.0.0.1:2"})
    saved_state.write(tmp_path, told)
    assert stat.S_IMODE((tmp_path / saved_state.FILE).stat().st_mode) == 0o600
    assert saved_state.read(tmp_path) == told
    assert "pw" not in repr(told)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"port": "x"}', '{"port": 1, "passwords": 3}'])
def test_a_file_that_is_none_of_ours_keeps_nothing(tmp_path: Path, text: str) -> None:
    """A cluster starts all the same, with new passwords."""
    (tmp_path / saved_state.FILE).write_text(text)
    assert saved_state.read(tmp_path) == SavedState()


def test_a_port_of_another_cluster_is_named_by_its_home(tmp_path: Path) -> None:
    """Which a person can end, or choose."""
    home = tmp_path / "other"
    with HomeLock(home) as claim:
        broker = "mqtt://user.cli:x@127.0.0.1:1884"
        claim.publish(RunningCluster(home=str(home), pid=1, broker=broker))
        assert ports.owner_of(1884) == f"the cluster in {home}"
    assert registry.running() == []


def test_the_process_that_has_a_port_is_named() -> None:
    """Where it is this user's, and may be known."""
    with socket.create_server(("127.0.0.1", 0)) as mine:
        assert "(process " in ports.owner_of(mine.getsockname()[1])
    assert ports.owner_of(free_port()) == "another program"


def test_a_port_is_kept_unless_it_is_taken() -> None:
    """Or it was none."""
    before = f"127.0.0.1:{free_port()}"
    assert ports.http_address(before) == before
    with socket.create_server(("127.0.0.1", 0)) as mine:
        taken = f"127.0.0.1:{mine.getsockname()[1]}"
        assert ports.http_address(taken) != taken
    assert ports.http_address("").startswith("127.0.0.1:")
    assert ports.http_address("nonsense:port") != "nonsense:port"
