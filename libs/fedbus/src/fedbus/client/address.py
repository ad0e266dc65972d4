"""Address of a broker, and the account with which a client logs in there."""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedbus.client.failures import Unreachable
from fedbus.cluster import registry
from fedbus.cluster.registry import RunningCluster
from fedbus.errors import SettingsError
from fedbus.mqtt.bus import BrokerAddress
from fedbus.runtime.settings import ServiceSettings, settings_from
from fedbus.scalars import IDENT
from fedbus.wire import topic_names, topics
from fedbus.wire.identifiers import ROLES

HOW = (
    "start one with `fedbus up`, or name a broker: "
    "export FEDBUS_BROKER=mqtt://user:password@host:port"
)


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """A broker, and this client's node name there: `user.name`, to which access rules refer."""

    broker: BrokerAddress
    node: str
    root: str = topics.ROOT

    def topic(self, topic: topics.Topic, **levels: object) -> str:
        """Fill in the levels of a public topic."""
        return topic_names.address(self.root, topic, **levels)


def find_login(
    environ: Mapping[str, str],
    home: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> BrokerLogin:
    """Find the broker: the cluster of `home`, else FEDBUS_BROKER, else the newest local cluster.

    Args:
        environ: FEDBUS_BROKER, FEDBUS_PASSWORD_FILE and FEDBUS_ROOT are read from it.
        home: The folder of a local cluster.
        tell: Called with a sentence about which cluster was chosen, where several run.

    Raises:
        SettingsError: FEDBUS_BROKER or its companions cannot be read, or log in as a service.
        Unreachable: no broker is named and no local cluster runs.
    """
    if environ.get("FEDBUS_BROKER") and home is None:
        given = {key: value for key, value in environ.items() if key in _READ}
        settings = settings_from(given, ServiceSettings)
        address = settings.address()
        return BrokerLogin(address, node_of(address.username), settings.root)
    found = registry.find(home, tell)
    if found is None:
        raise Unreachable(no_cluster_message(home))
    return login_of_cluster(found)


def login_of_cluster(found: RunningCluster) -> BrokerLogin:
    """Return the endpoint of a local cluster, with the account of the person who started it."""
    return BrokerLogin(found.address, node_of(found.address.username))


def no_cluster_message(home: Path | None) -> str:
    """Format the sentence for a missing cluster: which run here, and how to start one."""
    homes = [one.home for one in registry.running()]
    if home is None:
        return f"no cluster runs on this machine; {HOW}"
    if homes:
        return f"no cluster runs in {home}; those that run here: {', '.join(homes)}"
    return f"no cluster runs in {home}; {HOW}"


def node_of(username: str | None) -> str:
    """Return the node name of an account; a random one where the broker needs no account.

    Raises:
        SettingsError: the account is a service's, or cannot be a name.
    """
    if username is None:
        return f"user.{secrets.token_hex(4)}"
    role, dot, name = username.partition(".")
    if dot and role in ROLES and role != "user":
        raise SettingsError(
            f"FEDBUS_BROKER: {username} is a service's account; commands log in as user.NAME"
        )
    name = name if role == "user" and dot else username
    if re.fullmatch(IDENT, name) is None:
        raise SettingsError(f"FEDBUS_BROKER: the user name {username!r} cannot be a node's name")
    return f"user.{name}"


_READ = frozenset({"FEDBUS_BROKER", "FEDBUS_PASSWORD_FILE", "FEDBUS_ROOT"})
