"""A local cluster's broker and its members, before any of them is a person's."""

from pathlib import Path

import pytest

from fedbus.bus.broker import PortTaken, free_port
from fedbus.cluster import local
from fedbus.cluster.local import LocalCluster
from fedbus.cluster.members import ClusterPlan


async def test_of_two_clusters_that_want_the_usual_port_the_second_takes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both found it free; whoever listens first has it, and the other's members are told theirs."""
    monkeypatch.setattr(local, "USUAL_PORT", free_port())
    one, two = (LocalCluster(ClusterPlan(home=tmp_path / name)) for name in ("one", "two"))
    assert one.broker.port == two.broker.port == local.USUAL_PORT
    async with one, two:
        one.start_broker()
        two.start_broker()
        assert one.address.port == local.USUAL_PORT != two.address.port
        assert len({*one.processes} | {*two.processes}) == len(two.members)


async def test_a_port_that_a_person_named_is_not_exchanged(tmp_path: Path) -> None:
    """They have told others of it."""
    port = free_port()
    one, two = (LocalCluster(ClusterPlan(home=tmp_path / name, port=port)) for name in "12")
    async with one, two:
        one.start_broker()
        with pytest.raises(PortTaken, match=f"{port}: Address already in use; name another port"):
            two.start_broker()
