"""Wire the controller to its doors."""

from functools import cache, partial
from typing import Annotated, cast

from pydantic import Field

from fedbus import plugins, service
from fedbus.errors import PluginError
from fedbus.node import Identity
from fedbus.plugins import Folds, Selector
from fedbus.settings import ServiceSettings
from fedbus_controller.core import ControllerCore


class ControllerSettings(ServiceSettings):
    """What the controller needs to know beyond every service."""

    repository: Annotated[str, Field(description="the repository's node")] = "repository.1"


@cache  # every round asks, and to look through all that is installed takes 10 ms
def selector(name: str, allowed: tuple[str, ...] | None = None) -> Selector:
    """Load a selector by name; `allowed` as for `plugins.load`.

    Raises:
        PluginError: there is none of that name, or it is not allowed.
    """
    return plugins.load("selectors", name, allowed)


def check_plugin(group: str, name: str, allowed: tuple[str, ...] | None = None) -> None:
    """Refuse a plug-in that is not installed here, or not allowed, or of no use to a collector.

    Raises:
        PluginError: the sentence says which, and what is installed.
    """
    plugin = plugins.load(cast("plugins.Group", group), name, allowed)
    if group == "aggregators" and not isinstance(plugin, Folds):
        raise PluginError(f"aggregator {name!r} has no fold; this version needs one")


def build(settings: ControllerSettings, identity: Identity) -> service.Built:
    """Make a controller."""
    core = ControllerCore(
        identity.incarnation,
        settings.repository,
        settings.heartbeat_seconds,
        partial(selector, allowed=settings.plugins),
        partial(check_plugin, allowed=settings.plugins),
    )
    return service.Built(core)


def main() -> None:
    """Run the controller."""
    service.main("controller", ControllerSettings, build)
