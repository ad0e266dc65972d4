"""The `fedbus` command: its commands, its global options and the handling of errors."""

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from typer.core import TyperGroup

from fedbus.cli import exit_codes, service_commands, stale_login
from fedbus.cli.commands import (
    accounts,
    agents,
    clusters,
    configurations,
    data,
    demo,
    infer,
    job,
    key_commands,
    logs,
    models,
    naming,
    plan_privacy,
    plugins,
    privacy_commands,
    privacy_show,
    relatives,
    simulate,
    token_commands,
    up,
)
from fedbus.cli.inputs.global_options import move_to_front
from fedbus.cli.output import display
from fedbus.cli.output.stdout import flush_stdout, open_stdout
from fedbus.client.address import BrokerLogin, find_login
from fedbus.distributions import version_of
from fedbus.errors import FedbusError
from fedbus.runtime.setting_names import unknown_settings
from fedbus.text import nearest

MARKUP: Final[Literal["rich"] | None] = (
    "rich" if sys.__stdout__ and sys.__stdout__.isatty() else None
)
"""Boxes only on a terminal, so that piped help is plain text."""


class Commands(TyperGroup):
    """All commands; a FedbusError becomes a message and an exit code, not a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - as typer has it
        """Parse the command line, with global options at any place."""
        return super().parse_args(ctx, move_to_front(args))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - as typer has it
        """Return the names of all commands, those of services last."""
        return [*super().list_commands(ctx), *service_commands.NAMES]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - as typer has it
        """Return a command; one of a service is imported now."""
        if cmd_name in service_commands.NAMES:
            return service_commands.load_command(cmd_name, MARKUP)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as typer has it
        """Run a command."""
        try:
            return super().invoke(ctx)
        except FedbusError as error:
            raise typer.Exit(_report_error(error)) from None
        except typer.BadParameter as error:
            error.message = _with_suggestion(error.message)
            raise
        except KeyboardInterrupt:
            raise typer.Exit(exit_codes.INTERRUPTED) from None


def _with_suggestion(message: str) -> str:
    """Return a message of typer; an unknown choice gets the nearest known one."""
    given, _, choices = message.removeprefix("Value error, ").partition(" is not one of ")
    near = nearest(given.strip("'"), re.findall(r"'([^']*)'", choices))
    suggestion = f" Did you mean {near!r}?" if near else ""
    return message.removeprefix("Value error, ") + suggestion


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
    epilog=exit_codes.TABLE,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(job.app, name="job")
models.app.command("tag")(naming.tag)
models.app.command("untag")(naming.untag)
models.app.command("promote")(naming.promote)
models.app.command("rollback")(naming.rollback)
models.app.command("remove-alias")(naming.remove_alias)
models.app.command("names")(naming.names)
models.app.command("lineage")(relatives.lineage)
app.add_typer(models.app, name="models")
app.add_typer(configurations.app, name="configurations")
app.add_typer(data.app, name="data")
app.add_typer(key_commands.app, name="keys")
app.add_typer(plugins.app, name="plugins")
app.add_typer(token_commands.app, name="tokens")
privacy_commands.app.command("plan")(plan_privacy.plan_privacy)
privacy_commands.app.command("show")(privacy_show.show_privacy)
app.add_typer(privacy_commands.app, name="privacy")
app.command("up")(up.up)
app.command("down")(clusters.down)
app.command("clusters")(clusters.clusters)
app.command("logs")(logs.logs)
app.command("env")(clusters.env)
app.command("accounts")(accounts.accounts)
app.command("agents")(agents.agents)
app.command("infer")(infer.infer)
app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fedbus {version_of('fedbus')}")
        raise typer.Exit


@app.callback()
def main(
    ctx: typer.Context,
    cluster: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The home of a local cluster, if several run; `fedbus clusters` lists them. "
            "--cluster and --broker are accepted after the command, too.",
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="mqtt://user:password@host:port, or mqtts://; by default FEDBUS_BROKER, "
            "else the cluster that runs on this machine.",
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print it and exit."
        ),
    ] = False,
) -> None:
    """Federated learning over MQTT.

    `fedbus demo` shows a whole training in half a minute. `fedbus up` starts a cluster that stays;
    the other commands find it.
    """
    for unknown in unknown_settings(os.environ):
        display.warn(str(unknown))
    environ = {**os.environ, **({"FEDBUS_BROKER": broker} if broker else {})}

    def find() -> BrokerLogin:
        return find_login(
            environ, cluster.resolve() if cluster and not broker else None, display.note
        )

    ctx.obj = find


def run() -> int | str | None:
    """Run the command on the command line; return the exit code of the process."""
    try:
        open_stdout()
        code = _code_of_app()
        flush_stdout()
    except BrokenPipeError:
        return exit_codes.FAILED
    except FedbusError as error:
        return _report_error(error)
    return code


def _code_of_app() -> int | str | None:
    try:
        app()
    except SystemExit as end:
        return end.code
    return exit_codes.OK


def _report_error(error: FedbusError) -> int:
    with suppress(OSError):  # the exit code still reports it
        display.err().print(f"fedbus: {error}{stale_login.renewal_hint(error, os.environ)}")
    return exit_codes.code_of(error)
