"""Address of the broker, and the account."""

from pathlib import Path

import pytest

from fedbus.client.address import find_login, node_of
from fedbus.client.failures import Unreachable
from fedbus.cluster.registry import HomeLock, RunningCluster
from fedbus.errors import SettingsError

LOCAL = "mqtt://user.cli:here@127.0.0.1:1883"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a cluster that does not run yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "home"


def test_the_environment_wins_over_a_local_cluster(cluster: Path) -> None:
    """Who names a broker means that one."""
    with HomeLock(cluster) as claim:
        claim.publish(RunningCluster(home=str(cluster), pid=1, broker=LOCAL))
        said = {"FEDBUS_BROKER": "mqtt://user.ann:there@broker:1884", "FEDBUS_ROOT": "plant/7"}
        found = find_login(said)
    assert (found.broker.where, found.node, found.root) == ("broker:1884", "user.ann", "plant/7")


def test_a_local_cluster_is_found_by_itself(cluster: Path) -> None:
    """No option, no export."""
    with HomeLock(cluster) as claim:
        claim.publish(RunningCluster(home=str(cluster), pid=1, broker=LOCAL))
        found = find_login({})
    assert (found.broker.url, found.node, found.root) == (LOCAL, "user.cli", "fedbus/v1")


def test_a_home_that_is_named_wins_over_the_environment(cluster: Path) -> None:
    """`--cluster` was typed just now."""
    with HomeLock(cluster) as claim:
        claim.publish(RunningCluster(home=str(cluster), pid=1, broker=LOCAL))
        assert find_login({"FEDBUS_BROKER": "mqtt://broker"}, cluster).broker.url == LOCAL


def test_without_an_address_both_ways_to_name_one_are_stated(cluster: Path) -> None:
    """Start one, or name one."""
    with pytest.raises(Unreachable, match="no cluster runs on this machine; start one with"):
        find_login({})
    with pytest.raises(Unreachable, match=r"no cluster runs in .*/home; .*export FEDBUS_BROKER="):
        find_login({}, cluster)


def test_settings_of_services_do_not_trouble_a_command(cluster: Path) -> None:
    """A shell may hold FEDBUS_NAME for an agent; only a bad broker is our business."""
    found = find_login(
        {"FEDBUS_BROKER": "mqtt://h", "FEDBUS_NAME": "not a name", "FEDBUS_HTTP": "x"}
    )
    assert found.broker.where == "h:1883"
    with pytest.raises(SettingsError, match="it starts with 'http'"):
        find_login({"FEDBUS_BROKER": "http://h"}, None if cluster else cluster)


def test_the_login_is_the_sender() -> None:
    """The access rules know a node by its account."""
    assert node_of("user.ann") == "user.ann"
    assert node_of("ann") == "user.ann"
    assert node_of(None) != node_of(None)
    assert node_of(None).startswith("user.")


@pytest.mark.parametrize(
    ("account", "sentence"),
    [
        ("controller.1", "controller.1 is a service's account; commands log in as user.NAME"),
        ("a b", "the user name 'a b' cannot be a node's name"),
        ("user.", "'user.' cannot be"),
    ],
)
def test_an_account_that_commands_cannot_use_is_refused(account: str, sentence: str) -> None:
    """Rather than a broker that drops what it says in silence."""
    with pytest.raises(SettingsError, match=sentence):
        node_of(account)
