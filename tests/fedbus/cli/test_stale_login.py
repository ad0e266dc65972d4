"""Logins in a shell of a cluster that has ended or was started again."""

from pathlib import Path

import pytest

from fedbus.cli.stale_login import current_login, renewal_hint
from fedbus.client.address import BrokerLogin
from fedbus.cluster.registry import HomeLock, RunningCluster
from fedbus.errors import BusError, FedbusError
from fedbus.mqtt.bus import BrokerAddress

OLD = "mqtt://user.cli:old@127.0.0.1:1884"
NEW = "mqtt://user.cli:new@127.0.0.1:1884"
MOVED = "mqtt://user.cli:old@127.0.0.1:1999"
REFUSED = BusError("127.0.0.1:1884: login of user.cli refused: Not authorized")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a cluster that does not run yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "home"


def at(url: str) -> BrokerLogin:
    """What a command found with FEDBUS_BROKER."""
    return BrokerLogin(BrokerAddress.parse(url), "user.cli")


@pytest.mark.parametrize("old", [OLD, MOVED, "mqtt://127.0.0.1:1884"])
def test_a_stale_login_names_the_command_that_renews_it(home: Path, old: str) -> None:
    """And that command prints the new one, though the old one is in its environment."""
    environ = {"FEDBUS_BROKER": old}
    with HomeLock(home) as claim:
        claim.publish(RunningCluster(home=str(home), pid=1, broker=NEW))
        assert 'renew it: eval "$(fedbus env)"' in renewal_hint(REFUSED, environ)
        assert current_login(environ, at(old), named=False).broker.url == NEW


def test_of_two_clusters_the_one_on_the_same_port_is_meant(home: Path, tmp_path: Path) -> None:
    """The newest one is another's."""
    with HomeLock(home) as one, HomeLock(tmp_path / "two") as two:
        one.publish(RunningCluster(home=str(home), pid=1, broker=NEW, started=1.0))
        two.publish(RunningCluster(home="two", pid=1, broker=MOVED, started=2.0))
        environ = {"FEDBUS_BROKER": OLD}
        assert current_login(environ, at(OLD), named=False).broker.url == NEW


def test_where_no_cluster_runs_any_more_it_is_said(home: Path) -> None:
    """`fedbus up` brings it back, with its passwords and its port."""
    environ = {"FEDBUS_BROKER": OLD}
    assert renewal_hint(REFUSED, environ).endswith("none runs: `fedbus up`")
    assert current_login(environ, at(OLD), named=False) == at(OLD)
    assert not home.exists()


@pytest.mark.parametrize(
    "url",
    ["mqtt://user.ann:pw@127.0.0.1:1884", "mqtt://user.cli:old@broker.example", "nonsense", ""],
)
def test_another_login_is_left_alone(home: Path, url: str) -> None:
    """A login of another broker is not replaced by a local cluster's."""
    with HomeLock(home) as claim:
        claim.publish(RunningCluster(home=str(home), pid=1, broker=NEW))
        assert renewal_hint(REFUSED, {"FEDBUS_BROKER": url}) == ""
        assert current_login({"FEDBUS_BROKER": url}, at(OLD), named=False) == at(OLD)


def test_what_is_no_trouble_of_the_login_gets_no_hint(home: Path) -> None:
    """Nor does a login that is the cluster's own, nor a broker that is named."""
    environ = {"FEDBUS_BROKER": NEW}
    with HomeLock(home) as claim:
        claim.publish(RunningCluster(home=str(home), pid=1, broker=NEW))
        assert renewal_hint(REFUSED, environ) == ""
        assert renewal_hint(FedbusError("no such job"), {"FEDBUS_BROKER": OLD}) == ""
        assert current_login({"FEDBUS_BROKER": OLD}, at(OLD), named=True) == at(OLD)
