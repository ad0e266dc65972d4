"""A local cluster's broker and its members, before any of them is a person's."""

import asyncio
import os
from pathlib import Path

import pytest

from fedbus.cluster import local, ports
from fedbus.cluster.local import LocalCluster
from fedbus.cluster.members import NOISE_KEY, ClusterPlan, Member
from fedbus.cluster.process import Process
from fedbus.errors import SettingsError, StoreError
from fedbus.mqtt import mosquitto
from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.mosquitto import PortTaken, free_port
from fedbus.privacy.noise_key import read_noise_key


async def test_of_two_clusters_that_want_the_usual_port_the_second_takes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both found it free; the first to listen gets it, and the other's members get another port."""
    monkeypatch.setattr(ports, "DEFAULT_PORT", free_port())
    one, two = (LocalCluster(ClusterPlan(home=tmp_path / name)) for name in ("one", "two"))
    assert one.broker.port == two.broker.port == ports.DEFAULT_PORT
    async with one, two:
        one.start_broker()
        two.start_broker()
        assert one.address.port == ports.DEFAULT_PORT != two.address.port
        assert len({*one.processes} | {*two.processes}) == len(two.members)


async def test_a_port_that_a_person_named_is_not_exchanged(tmp_path: Path) -> None:
    """They have told others of it."""
    port = free_port()
    one, two = (LocalCluster(ClusterPlan(home=tmp_path / name, port=port)) for name in "12")
    async with one, two:
        one.start_broker()
        with pytest.raises(PortTaken, match=f"{port}: Address already in use; name another port"):
            two.start_broker()


STUBBORN = """\
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


async def test_who_does_not_end_is_killed_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After long enough; nothing of it is left."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(local, "STOP_SECONDS", 0.2)
    cluster = LocalCluster(ClusterPlan(home=tmp_path / "home"))
    member = Member(node="agent.1", module="stubborn", settings={})
    process = Process(member, BrokerAddress("127.0.0.1", 1), "", tmp_path / "log")
    async with cluster:
        cluster.processes["agent.1"] = process
        process.start(now=0.0)
        pid = process.pid
        while process.log_tail() != "ready":  # noqa: ASYNC110 - it can tell us in no other way
            await asyncio.sleep(0.01)
    assert cluster.killed_at_stop == ("agent.1",)
    with pytest.raises(ProcessLookupError):
        os.kill(pid or 0, 0)


async def test_a_home_without_room_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a traceback; the broker's files are the first that are written."""

    def full(*_: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mosquitto, "atomic_write", full)
    cluster = LocalCluster(ClusterPlan(home=tmp_path / "home"))
    with pytest.raises(StoreError, match="home: No space left on device"):
        async with cluster:
            cluster.start_broker()


async def test_a_cluster_makes_one_noise_key_and_keeps_it(tmp_path: Path) -> None:
    """A job that runs when the cluster ends goes on with it; a key that others can read ends it."""
    plan = ClusterPlan(home=tmp_path / "home")
    path = plan.home / NOISE_KEY
    keys = []
    for _ in range(2):
        async with LocalCluster(plan) as cluster:
            cluster.start_broker()
            keys.append(read_noise_key(path))
    assert keys[0] == keys[1]
    path.chmod(0o604)
    async with LocalCluster(plan) as cluster:
        with pytest.raises(SettingsError, match=r"noise\.key: its mode is 0604"):
            cluster.start_broker()
