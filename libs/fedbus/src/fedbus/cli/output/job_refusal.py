"""Output for a refused job: its faults, one on each line, or one JSON document."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fedbus.cli.output import display
from fedbus.client.failures import JobRefused, Refused
from fedbus.errors import FedbusError, SettingsError
from fedbus.jobs import JobFault, format_faults, write_refusal


def refused_by_controller(
    refused: JobRefused, print_json: Callable[[Any], None] | None
) -> FedbusError:
    """Print the controller's answer if JSON is wanted; return the error that ends the command."""
    if print_json is not None:
        print_json(refused.answer)
    return Refused(format_faults("the controller refused the job", refused.faults), refused.answer)


def refused_before_start(
    job: Path, faults: Sequence[JobFault], why: str = "", *, as_json: bool
) -> FedbusError:
    """Print the faults if JSON is wanted; return the error that ends the command.

    It is an error of the user's file, exit code 2: no service refused it.
    """
    if as_json:
        display.print_json(write_refusal("", faults))
    return SettingsError(format_faults(f"{job} is refused", faults) if faults else why)
