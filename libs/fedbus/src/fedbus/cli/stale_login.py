"""Outdated logins in FEDBUS_BROKER.

`eval "$(fedbus env)"` puts a cluster's login into a shell. When the cluster is started again in a
new home or on another port, that shell still has the old login.
"""

from collections.abc import Mapping, Sequence

from fedbus.client.address import BrokerLogin, login_of_cluster
from fedbus.cluster import registry
from fedbus.cluster.members import USER
from fedbus.cluster.registry import RunningCluster
from fedbus.errors import BusError, FedbusError, SettingsError
from fedbus.mqtt.bus import BrokerAddress

LOOPBACK = ("127.0.0.1", "::1", "localhost")
RENEW_COMMAND = 'eval "$(fedbus env)"'


def current_login(environ: Mapping[str, str], here: BrokerLogin, *, named: bool) -> BrokerLogin:
    """Return the current login of the cluster that FEDBUS_BROKER means, or `here`.

    If the command line names a cluster or broker (`named`), or FEDBUS_BROKER is not of `fedbus
    env`, nothing is replaced.
    """
    if named or not _is_local(environ):
        return here
    found = _current(here.broker, registry.running())
    return here if found is None else login_of_cluster(found)


def renewal_hint(error: FedbusError, environ: Mapping[str, str]) -> str:
    """Return a hint if a broker refused or is unreachable and FEDBUS_BROKER is outdated, or ""."""
    if not isinstance(error, BusError) or not _is_local(environ):
        return ""
    running = registry.running()
    if not running:
        return "\nFEDBUS_BROKER names a cluster of this machine, and none runs: `fedbus up`"
    if any(one.address.url == environ["FEDBUS_BROKER"] for one in running):
        return ""
    return f"\nFEDBUS_BROKER is not the login of a running cluster; renew it: {RENEW_COMMAND}"


def _is_local(environ: Mapping[str, str]) -> bool:
    try:
        address = BrokerAddress.parse(environ.get("FEDBUS_BROKER", ""))
    except SettingsError:
        return False
    return address.host in LOOPBACK and address.username in (None, USER)


def _current(address: BrokerAddress, running: Sequence[RunningCluster]) -> RunningCluster | None:
    """Return the cluster on the same port, else the newest."""
    same = (one for one in running if one.address.port == address.port)
    return next(same, running[0] if running else None)
