"""`fedbus configurations`: list, show, add."""

import json
import sys
from typing import Annotated

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.inputs.job_argument import read_job_file
from fedbus.cli.output import display
from fedbus.cli.output.times import format_age
from fedbus.client.names import configuration_name, model_name
from fedbus.wire.messages import Configuration

SHOWN_CONFIGURATIONS = 20

app = typer.Typer(
    no_args_is_help=True,
    help="List, show and add configurations: what job files mean, without the job's id.",
)


@app.command("list")
def list_them(
    ctx: typer.Context,
    model: Annotated[str | None, typer.Option(help="Only those of this model.")] = None,
    last: Annotated[
        int, typer.Option("--last", min=1, metavar="N", help="Only the N newest.")
    ] = SHOWN_CONFIGURATIONS,
    as_json: AsJson = False,
) -> None:
    """List configurations, the newest last: those of all jobs, and those that were added.

    Job files that mean the same have one configuration, whatever their notation.
    """
    name = None if model is None else model_name(model)
    found = call(broker_of(ctx), lambda fed: fed.configurations(name, limit=last))
    if as_json:
        display.print_json([_facts(each) for each in found])
        return
    display.print_table(
        ("CONFIGURATION", "MODEL", "AGE"),
        ((each.configuration, each.model, format_age(each.at)) for each in found),
        nothing="no configurations yet; `fedbus configurations add FILE` stores that of a job file",
    )


@app.command()
def show(
    ctx: typer.Context,
    configuration: Annotated[
        str,
        typer.Argument(metavar="ID", help="The configuration_id.", callback=configuration_name),
    ],
    as_json: AsJson = False,
) -> None:
    """Print a configuration: a job file without an id, which `fedbus job submit -` takes.

    --json prints it under "file", beside its id and model.
    """
    shown = call(broker_of(ctx), lambda fed: fed.configuration(configuration))
    content = json.loads(shown.file)
    if as_json:
        display.print_json({**_facts(shown.configuration), "file": content})
    else:
        sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="FILE", help="A job file, JSON; - reads standard input.")
    ],
    as_json: AsJson = False,
) -> None:
    """Store the configuration of a job file without a job.

    `fedbus job submit --configuration ID` runs it. One that is known is not stored again.
    """
    content = read_job_file(name)
    stored = call(broker_of(ctx), lambda fed: fed.add_configuration(content))
    if as_json:
        display.print_json({**_facts(stored.configuration), "known": stored.known})
        return
    known = "is known already" if stored.known else "is stored"
    display.show(f"configuration {stored.configuration.configuration} {known}")


def _facts(found: Configuration) -> dict[str, object]:
    return {
        "configuration_id": found.configuration,
        "model_name": found.model,
        "number": found.number,
        "at": found.at,
    }
