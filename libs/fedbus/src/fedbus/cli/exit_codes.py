"""Exit codes of the command, and the error that ends it with each."""

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
Exit codes: 0 done; 1 it failed: a job that did not finish, a check that found something, a full
disk; 2 what you gave is wrong: an option, a setting, a file, judged here and before anything is
done; 3 the broker, the cluster or a service does not answer; 4 a service refused, or what you name
is not there; 130 interrupted by Ctrl-C; 143 ended by SIGTERM.
"""


class Interrupted(FedbusError):  # noqa: N818 - named for what happened, as its exit code is
    """The command was interrupted by Ctrl-C."""


def code_of(error: FedbusError) -> int:
    """Choose the exit code an error ends the command with."""
    match error:
        case Refused():
            return REFUSED
        case Interrupted():
            return INTERRUPTED
        case SettingsError() | PortTaken():
            return USAGE
        case Unreachable() | BusError():
            return UNREACHABLE
        # What a person brought: data, weights, plug-ins. Where they come over the bus, whoever
        # fetched them says Failed.
        case TrainingError() | LayoutError() | PluginError():
            return USAGE
        case _:
            return FAILED
