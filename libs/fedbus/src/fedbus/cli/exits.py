"""Exit codes, and the errors that carry them."""

from fedbus.errors import BusError, FedbusError, SettingsError

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
REFUSED = 4
INTERRUPTED = 130

TABLE = """\
Exit codes: 0 done; 1 it failed (a job that failed or was cancelled, a service that died);
2 wrong usage (an option, a setting, a file); 3 the broker, the cluster or a service does not
answer; 4 a service refused; 130 interrupted by Ctrl-C.
"""


class Failed(FedbusError):  # noqa: N818 - named for what happened, as its exit code is
    """What was asked for did not succeed."""


class Unreachable(FedbusError):  # noqa: N818 - as above
    """Nobody answers: no cluster, no broker, or a service that is silent."""


class Refused(FedbusError):  # noqa: N818 - as above
    """A service answered no, and why."""


class Interrupted(FedbusError):  # noqa: N818 - as above
    """Somebody pressed Ctrl-C."""


def code_of(error: FedbusError) -> int:
    """Choose the exit code an error ends the command with."""
    match error:
        case Refused():
            return REFUSED
        case Interrupted():
            return INTERRUPTED
        case Unreachable() | BusError():
            return UNREACHABLE
        case SettingsError():
            return USAGE
        case _:
            return FAILED
