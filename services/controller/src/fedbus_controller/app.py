"""Wire the controller to its doors."""

from functools import cache
from typing import Annotated, Literal, cast

from pydantic import Field

from fedbus import plugins, service
from fedbus.node import Identity
from fedbus.plugins import Selector
from fedbus.settings import ServiceSettings
from fedbus_controller.core import ControllerCore


class ControllerSettings(ServiceSettings):
    """What the controller needs to know beyond every service."""

    repository: Annotated[str, Field(description="the repository's node")] = "repository.1"


@cache  # every round asks, and to look through all that is installed takes 10 ms
def selector(name: str) -> Selector:
    """Load a selector by name.

    Raises:
        PluginError: there is none of that name.
    """
    return plugins.load("selectors", name)


def check_plugin(group: str, name: str) -> None:
    """Refuse a plug-in that is not installed here.

    Raises:
        PluginError: there is none of that name.
    """
    if group == "selectors":
        selector(name)
    else:
        plugins.load(cast("Literal['aggregators']", group), name)


def build(settings: ControllerSettings, identity: Identity) -> service.Built:
    """Make a controller."""
    core = ControllerCore(
        identity.incarnation,
        settings.repository,
        settings.heartbeat_seconds,
        selector,
        check_plugin,
    )
    return service.Built(core)


def main() -> None:
    """Run the controller."""
    service.main("controller", ControllerSettings, build)
