"""All handlers of the controller's HTTP API, by the names that its endpoint table uses."""

from aiohttp import web

from fedbus.core import clock
from fedbus.http_api.responses import ApiError, json_response
from fedbus.runtime.shell import Shell
from fedbus_controller.core import ControllerCore
from fedbus_controller.http.awaited_answers import AwaitedAnswers
from fedbus_controller.http.configuration_handlers import ConfigurationHandlers
from fedbus_controller.http.job_handlers import JobHandlers
from fedbus_controller.http.refused_paths import NO_MEANING
from fedbus_controller.http.schemas import EnablersStatus


class ControllerHandlers:
    """The handlers that the endpoint table names.

    Attributes:
        jobs: Those of jobs.
        configurations: Those of configurations.
    """

    def __init__(self, core: ControllerCore, shell: Shell) -> None:
        answers = AwaitedAnswers(shell)
        self.jobs = JobHandlers(core, answers)
        self.configurations = ConfigurationHandlers(answers)
        self._core, self._shell = core, shell

    async def enablers(self, _: web.Request) -> web.Response:
        """Return which services are online, as far as this controller sees them."""
        counts = self._core.count_nodes(clock.monotonic())
        leads = "leads" if self._core.leads else "standby"
        data = {"controller": leads, "connected": self._shell.connected, **counts}
        return json_response(EnablersStatus(data=data))

    async def no_meaning(self, request: web.Request) -> web.Response:
        """Refuse a path of ASSIST-IoT that has no meaning in fedbus."""
        path = request.match_info.route.resource
        known = "" if path is None else path.canonical
        raise ApiError(501, NO_MEANING.get(known, "this has no meaning in fedbus"))
