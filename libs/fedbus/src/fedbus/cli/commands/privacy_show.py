"""`fedbus privacy show`: what the jobs that trained a model have spent."""

from typing import Annotated

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.output import display
from fedbus.cli.output.privacy_view import print_privacy
from fedbus.client.names import model_name
from fedbus.wire import codec


def show_privacy(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model's name.", callback=model_name)
    ],
    as_json: AsJson = False,
) -> None:
    """Show what each job that trained a model has spent of its agents' privacy, and the sum.

    An entry of a job's ledger is one release of noisy data; rounds that failed after their noise
    was drawn count as well. Jobs without a privacy mechanism have no ε, and then the model has
    none. --json prints the repository's answer.
    """
    shown = call(broker_of(ctx), lambda fed: fed.privacy(model))
    if as_json:
        display.print_json(codec.to_plain(shown))
        return
    print_privacy(shown)
