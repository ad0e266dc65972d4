"""`fedbus models`: list and show; the other commands of the group have modules of their own."""

from collections.abc import Sequence
from typing import Annotated

import typer

from fedbus.cli import exit_codes
from fedbus.cli.commands.empty_model import create_empty
from fedbus.cli.commands.model_pull import pull
from fedbus.cli.commands.model_push import push
from fedbus.cli.commands.model_release import release
from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.inputs.version_argument import ModelVersion, VersionNumber
from fedbus.cli.output import display
from fedbus.cli.output.encryption_text import format_encryption
from fedbus.cli.output.epsilon_text import format_model_epsilon
from fedbus.cli.output.model_history import DEFAULT_VERSIONS, print_history
from fedbus.cli.output.name_history import format_named
from fedbus.cli.output.spec_text import spec_facts
from fedbus.cli.output.times import format_age
from fedbus.client.names import version_choice
from fedbus.client.results import StoredModel
from fedbus.client.stored_models import VERSIONS
from fedbus.wire import codec

app = typer.Typer(no_args_is_help=True, help="Push, list, show and pull models.")


@app.command("list")
def list_them(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the latest version of every model.

    If what the broker retains of a model cannot be read, a warning says so and the exit code is 1.
    """
    print_models(call(broker_of(ctx), lambda fed: fed.models()), as_json=as_json)


def print_models(found: Sequence[StoredModel], *, as_json: bool) -> None:
    """Print models; raise Exit after them if something about one is not known."""
    if as_json:
        display.print_json(
            [
                {
                    **codec.to_plain(each.ref),
                    "at": each.created,
                    "privacy": None if each.privacy is None else codec.to_plain(each.privacy),
                    "aliases": dict(each.aliases),
                    "tags": dict(each.tags),
                    **({"trouble": each.trouble} if each.trouble else {}),
                }
                for each in found
            ]
        )
    else:
        _print_table(found)
    troubled = [each for each in found if each.trouble]
    for each in troubled:
        display.warn(f"model {each.model}: {each.trouble}")
    if troubled:
        raise typer.Exit(exit_codes.FAILED)


def _print_table(found: Sequence[StoredModel]) -> None:
    private = any(each.privacy is not None or each.trouble for each in found)
    encrypted = any(each.ref.encryption is not None for each in found)
    aliased, tagged = any(each.aliases for each in found), any(each.tags for each in found)
    display.print_table(
        (
            *("MODEL", "VERSION", "AGE", "WEIGHTS", "DIGEST", "SOURCE"),
            *(("EPSILON",) * private),
            *(("ENCRYPTED",) * encrypted),
            *(("ALIASES",) * aliased),
            *(("TAGS",) * tagged),
        ),
        (
            (
                each.model,
                each.version,
                format_age(each.created),
                display.format_size(each.ref.weights.size),
                each.ref.weights.digest[:12],
                each.ref.source,
                *(("unknown" if each.trouble else format_model_epsilon(each.privacy),) * private),
                *((format_encryption(each.ref.encryption),) * encrypted),
                *((format_named(each.aliases),) * aliased),
                *((format_named(each.tags),) * tagged),
            )
            for each in found
        ),
        nothing="no models yet; `fedbus models push SPEC.json` stores one",
    )


@app.command("show")
def show_model(
    ctx: typer.Context,
    model: ModelVersion,
    version: VersionNumber = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help=f"Versions; {DEFAULT_VERSIONS} by default."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show the whole history.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a version of a model and the versions before it, the newest last.

    The repository keeps the weights of the newest versions, of the best one, of those with a tag or
    an alias, and of pushed ones; it keeps the metrics of all. With a version it also shows whose
    updates that combines, and with which coefficients, unless its job has a privacy mechanism.
    --json prints the newest first, and without --limit or --all as many as fit into one answer;
    "versions" is the number of all, "record" is the round of the version.
    """
    wanted = None if everything else limit or (VERSIONS if as_json else DEFAULT_VERSIONS)
    report = call(broker_of(ctx), lambda fed: fed.model(model, version, limit=wanted))
    if as_json:
        display.print_json({**codec.to_plain(report.shown), **spec_facts(report.spec)})
        return
    choice = version_choice(model, version)
    chosen = choice.version is not None or choice.name is not None
    print_history(report.shown, report.spec, contributors=chosen)


app.command("pull")(pull)
app.command("push")(push)
app.command("create-empty")(create_empty)
app.command("release")(release)
