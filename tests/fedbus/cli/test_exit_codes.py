"""Exit codes mean something."""

import pytest
import typer
from typer.testing import CliRunner

from fedbus.cli.exit_codes import Interrupted, code_of
from fedbus.cli.main import Commands, app
from fedbus.client.failures import Failed, Refused, Unreachable
from fedbus.errors import (
    BusError,
    FedbusError,
    LayoutError,
    PluginError,
    SettingsError,
    TrainingError,
    TransferError,
    WireError,
)
from fedbus.mqtt.mosquitto import PortTaken

RUNNER = CliRunner()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Failed("the job failed"), 1),
        (WireError("not a message"), 1),
        (TransferError("its source is gone"), 1),
        (SettingsError("FEDBUS_BROKER: no"), 2),
        (LayoutError("weights lack 'a'"), 2),
        (TrainingError("x.npz: no rows"), 2),
        (PluginError("no loader 'nix'"), 2),
        (PortTaken("h:1883: Address already in use"), 2),
        (Unreachable("no answer"), 3),
        (BusError("h:1: refused"), 3),
        (Refused("unknown key"), 4),
        (Interrupted("by you"), 130),
    ],
)
def test_every_error_has_its_code(error: FedbusError, code: int) -> None:
    """Scripts tell a dead broker from a wrong file."""
    assert code_of(error) == code


def _app_that_raises(error: BaseException) -> typer.Typer:
    made = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

    @made.command()
    def first() -> None:
        raise error

    @made.callback()
    def root() -> None:
        """Make a group of it."""

    return made


def test_an_error_is_a_sentence_on_stderr_and_no_traceback() -> None:
    """It says what, where and how to mend it, and nothing else."""
    result = RUNNER.invoke(_app_that_raises(Unreachable("h:1: [gone]")), ["first"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "fedbus: h:1: [gone]\n"


def test_ctrl_c_is_quiet() -> None:
    """The user who pressed it knows."""
    result = RUNNER.invoke(_app_that_raises(KeyboardInterrupt()), ["first"])
    assert (result.exit_code, result.output) == (130, "")


def test_a_mistake_of_ours_is_not_hidden() -> None:
    """A sentence would hide where it happened."""
    result = RUNNER.invoke(_app_that_raises(ZeroDivisionError()), ["first"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_help_lists_the_codes() -> None:
    """Where people look for them."""
    said = " ".join(RUNNER.invoke(app, ["--help"]).output.split())
    assert "3 the broker, the cluster or a service does not answer" in said


def test_the_version_is_that_of_the_package() -> None:
    """For bug reports."""
    assert RUNNER.invoke(app, ["--version"]).output.startswith("fedbus 0.")
