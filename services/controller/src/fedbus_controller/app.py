"""Entry point of the controller: settings, plug-ins and the core."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedbus import plugins
from fedbus.core import clock
from fedbus.datasource.job_overrides import make_step
from fedbus.errors import FedbusError
from fedbus.jobs import JobFault, JobFile, transforms_of
from fedbus.plugins import Selector
from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus.runtime.public_key_setting import public_key_of
from fedbus.runtime.settings import RepositoryNode, ServiceSettings
from fedbus.runtime.shell import Shell
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.encryption_key_faults import EncryptionKeyFacts
from fedbus.strategies.resolution import resolve_job
from fedbus_controller.core import ControllerCore
from fedbus_controller.rounds.cohort_selection import IsolatedSelector

if TYPE_CHECKING:
    from fedbus.runtime.http import HttpApi


class ControllerSettings(ServiceSettings):
    """Settings of the controller beside those of every service."""

    repository: RepositoryNode = "repository.1"
    encryption_key: Annotated[
        Path | None,
        Field(
            description="file of the public encryption key that encrypted jobs use; see `fedbus "
            "keys generate`"
        ),
    ] = None


@cache  # called in every round; a search of the installed packages takes 10 ms
def selector(name: str, allowed: tuple[str, ...] | None = None) -> Selector:
    """Load a selector, isolated; `allowed` as for `plugins.load`, which raises PluginError."""
    return IsolatedSelector(name, plugins.load("selectors", name, allowed))


def check_plugins(
    job: JobFile,
    allowed: tuple[str, ...] | None = None,
    *,
    complete: bool = True,
    encryption: EncryptionKeyFacts | None = None,
) -> Iterator[JobFault]:
    """Yield a fault for each plug-in of a job that cannot be used; `allowed` as for `plugins.load`.

    Whether its parts fit together is checked only if the file is `complete`, without other faults.
    The selector, the aggregator and the server optimizer must be installed here. Objectives and
    transforms that fedbus ships are checked; other ones, and loaders, are installed on agents.
    `encryption` is the encryption key of this controller, None if it has none.
    """
    chosen = job.plugins
    checks: list[tuple[str, Callable[[], object]]] = [
        ("plugins.selector", partial(selector, chosen.selector, allowed)),
    ]
    shipped = plugins.allowed_names("transforms", ())
    for place, step in enumerate(transforms_of(chosen)):
        if step.id in shipped:
            checks.append((f"plugins.transforms[{place}]", partial(make_step, step.id, step, ())))
    yield from strategy_faults(job, allowed, complete=complete, encryption=encryption)
    for key, check in checks:
        try:
            check()
        except FedbusError as error:
            yield JobFault(key=key, problem=str(error))


def build(settings: ControllerSettings, identity: Identity) -> service.Built:
    """Build a controller from its settings; raise SettingsError if its key cannot be used."""
    key = public_key_of(settings.encryption_key)
    facts = None if key is None else EncryptionKeyFacts(id=key.id, parameters=key.parameters)
    core = ControllerCore(
        identity.incarnation,
        settings.repository,
        settings.heartbeat_seconds,
        partial(selector, allowed=settings.plugins),
        partial(resolve_job, allowed=settings.plugins, encryption=facts),
        partial(check_plugins, allowed=settings.plugins, encryption=facts),
        clock.utc,
        encryption_key=None if key is None else key.id,
    )

    def http_api(shell: Shell) -> "HttpApi":
        # aiohttp is imported only if FEDBUS_HTTP is set
        from fedbus.http_api.access import TokenFileAccess  # noqa: PLC0415
        from fedbus.http_api.routes import api_off, routes_of  # noqa: PLC0415
        from fedbus.runtime.http import HttpApi  # noqa: PLC0415
        from fedbus_controller.http.endpoints import description  # noqa: PLC0415
        from fedbus_controller.http.handlers import ControllerHandlers  # noqa: PLC0415

        if settings.http_tokens_file is None:
            return api_off()
        access = TokenFileAccess(settings.http_tokens_file)
        routes = routes_of(description(), ControllerHandlers(core, shell), access)
        return HttpApi(routes, is_authorized=access.admits)

    return service.Built(core, http_api=http_api)
