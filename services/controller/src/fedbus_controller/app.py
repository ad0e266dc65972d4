"""Wire the controller to its doors."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Annotated

from pydantic import Field

from fedbus import plugins
from fedbus.core import clock
from fedbus.datasource.job_overrides import make_step
from fedbus.errors import FedbusError
from fedbus.jobs import JobFault, Plugins, transforms_of
from fedbus.plugins import Selector
from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus.runtime.settings import ServiceSettings
from fedbus.scalars import IDENT
from fedbus_controller.core import ControllerCore
from fedbus_controller.rounds.isolated_selector import IsolatedSelector

REPOSITORY = rf"^repository\.{IDENT}$"


class ControllerSettings(ServiceSettings):
    """What the controller needs to know beyond every service."""

    repository: Annotated[
        str, Field(description="the repository's node, as repository.1", pattern=REPOSITORY)
    ] = "repository.1"


@cache  # every round asks, and to look through all that is installed takes 10 ms
def selector(name: str, allowed: tuple[str, ...] | None = None) -> Selector:
    """Load a selector by name, to be asked within a time limit; `allowed` as for `plugins.load`.

    Raises:
        PluginError: there is none of that name, or it is not allowed.
    """
    return IsolatedSelector(name, plugins.load("selectors", name, allowed))


def check_plugins(chosen: Plugins, allowed: tuple[str, ...] | None = None) -> Iterator[JobFault]:
    """Find what a job chooses and cannot have; `allowed` as for `plugins.load`.

    An aggregator and a selector must be here. Of transforms, which agents use, those that fedbus
    ships are made with their parameters; others, and loaders, only an agent can judge.
    """
    checks: list[tuple[str, Callable[[], object]]] = [
        ("aggregator", partial(plugins.load, "aggregators", chosen.aggregator, allowed)),
        ("selector", partial(selector, chosen.selector, allowed)),
    ]
    ours = plugins.allowed_names("transforms", ())
    for place, step in enumerate(transforms_of(chosen)):
        if step.id in ours:
            checks.append((f"transforms[{place}]", partial(make_step, step.id, step, ())))
    for key, check in checks:
        try:
            check()
        except FedbusError as error:
            yield JobFault(key=f"plugins.{key}", problem=str(error))


def build(settings: ControllerSettings, identity: Identity) -> service.Built:
    """Make a controller."""
    core = ControllerCore(
        identity.incarnation,
        settings.repository,
        settings.heartbeat_seconds,
        partial(selector, allowed=settings.plugins),
        partial(check_plugins, allowed=settings.plugins),
        clock.utc,
    )
    return service.Built(core)


def main() -> None:
    """Run the controller."""
    service.main("controller", ControllerSettings, build)
