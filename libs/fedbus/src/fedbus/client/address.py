"""Which broker a command talks to, and as whom."""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedbus.client.failures import Unreachable
from fedbus.cluster import registry
from fedbus.cluster.registry import Place
from fedbus.errors import SettingsError
from fedbus.mqtt.bus import BrokerAddress
from fedbus.runtime.settings import ServiceSettings, settings_from
from fedbus.scalars import IDENT
from fedbus.wire import topics
from fedbus.wire.values import ROLES

HOW = (
    "start one with `fedbus up`, or name a broker: "
    "export FEDBUS_BROKER=mqtt://user:password@host:port"
)


@dataclass(frozen=True, slots=True)
class Where:
    """A broker, and our address there: `user.name`, which its access rules know."""

    broker: BrokerAddress
    node: str
    root: str = topics.ROOT

    def topic(self, topic: topics.Topic, **levels: object) -> str:
        """Fill in a public topic's levels."""
        return topics.address(self.root, topic, **levels)


def where(
    environ: Mapping[str, str],
    home: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Where:
    """Find the broker: the cluster of `home`, else FEDBUS_BROKER, else the newest cluster here.

    Where several run and none is named, `tell` gets a sentence about which one was chosen.

    Raises:
        SettingsError: FEDBUS_BROKER or its companions cannot be read, or it logs in as a service.
        Unreachable: there is neither.
    """
    if environ.get("FEDBUS_BROKER") and home is None:
        said = {key: value for key, value in environ.items() if key in _OURS}
        settings = settings_from(said, ServiceSettings)
        address = settings.address()
        return Where(address, node_of(address.username), settings.root)
    found = registry.find(home, tell)
    if found is None:
        raise Unreachable(nowhere(home))
    return at_cluster(found)


def at_cluster(found: Place) -> Where:
    """Speak to a cluster of this machine, as the person who started it."""
    return Where(found.address, node_of(found.address.username))


def nowhere(home: Path | None) -> str:
    """Say that no cluster runs there, and what to do about it."""
    homes = [one.home for one in registry.running()]
    if home is None:
        return f"no cluster runs on this machine; {HOW}"
    if homes:
        return f"no cluster runs in {home}; those that run here: {', '.join(homes)}"
    return f"no cluster runs in {home}; {HOW}"


def node_of(username: str | None) -> str:
    """Make our address from the account we log in with; who needs none gets one by chance.

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


_OURS = frozenset({"FEDBUS_BROKER", "FEDBUS_PASSWORD_FILE", "FEDBUS_ROOT"})
