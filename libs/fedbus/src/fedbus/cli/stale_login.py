"""A login that `fedbus env` gave once and that leads nowhere any more: noticed, and mended.

`eval "$(fedbus env)"` puts a cluster's login into a shell. When the cluster is started anew in a
fresh home, or on another port, that shell still names the old one.
"""

from collections.abc import Mapping, Sequence

from fedbus.client.address import BrokerLogin, login_of_cluster
from fedbus.cluster import registry
from fedbus.cluster.members import USER
from fedbus.cluster.registry import RunningCluster
from fedbus.errors import BusError, FedbusError, SettingsError
from fedbus.mqtt.bus import BrokerAddress

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MEND = 'eval "$(fedbus env)"'


def current_login(environ: Mapping[str, str], here: BrokerLogin, *, named: bool) -> BrokerLogin:
    """Give the login that counts now where FEDBUS_BROKER is one of `fedbus env`.

    Args:
        environ: Where FEDBUS_BROKER stands.
        here: What was found with it.
        named: The person named a cluster or a broker on the command line, so nothing is exchanged.
    """
    if named or not _is_ours(environ):
        return here
    found = _meant(here.broker, registry.running())
    return here if found is None else login_of_cluster(found)


def hint(error: FedbusError, environ: Mapping[str, str]) -> str:
    """Say what may help where a broker refuses or is away, and FEDBUS_BROKER is of `fedbus env`."""
    if not isinstance(error, BusError) or not _is_ours(environ):
        return ""
    running = registry.running()
    if not running:
        return "\nFEDBUS_BROKER is of a cluster of this machine, and none runs: `fedbus up`"
    if any(one.address.url == environ["FEDBUS_BROKER"] for one in running):
        return ""
    return f"\nFEDBUS_BROKER is not the login of a cluster that runs here now; renew it: {MEND}"


def _is_ours(environ: Mapping[str, str]) -> bool:
    try:
        address = BrokerAddress.parse(environ.get("FEDBUS_BROKER", ""))
    except SettingsError:
        return False
    return address.host in LOOPBACK and address.username in (None, USER)


def _meant(address: BrokerAddress, running: Sequence[RunningCluster]) -> RunningCluster | None:
    """The cluster on the same port, else the newest."""
    same = (one for one in running if one.address.port == address.port)
    return next(same, running[0] if running else None)
