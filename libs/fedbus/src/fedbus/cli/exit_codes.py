"""Exit codes of the command, and the errors that lead to each."""

from fedbus.client.failures import Refused, Unreachable
from fedbus.errors import (
    BusError,
    FedbusError,
    LayoutError,
    PluginError,
    SettingsError,
    TrainingError,
)
from fedbus.mqtt.mosquitto import PortTaken

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
REFUSED = 4
INTERRUPTED = 130

TABLE = """\
Exit codes: 0 success; 1 failure: a job did not finish, a check found a fault, the disk is full;
2 wrong input: an option, a setting or a file, found before anything is changed; 3 the broker, the
cluster or a service does not answer; 4 a service refused the request, or what you named does not
exist; 130 interrupted by Ctrl-C; 143 ended by SIGTERM.
"""


class Interrupted(FedbusError):  # noqa: N818 - as its exit code
    """The command was interrupted by Ctrl-C."""


def code_of(error: FedbusError) -> int:
    """Return the exit code of an error."""
    match error:
        case Refused():
            return REFUSED
        case Interrupted():
            return INTERRUPTED
        case SettingsError() | PortTaken():
            return USAGE
        case Unreachable() | BusError():
            return UNREACHABLE
        # The user's data, weights and plug-ins; for those received over the bus, the code that
        # fetched them raises Failed.
        case TrainingError() | LayoutError() | PluginError():
            return USAGE
        case _:
            return FAILED
