"""`fedbus models create-empty`: the first version of a model that has no weights yet."""

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.inputs.model_options import read_shape
from fedbus.cli.output import display
from fedbus.client.names import model_name
from fedbus.errors import SettingsError
from fedbus.model.first_weights import INITS, Init
from fedbus.wire import codec


def create_empty(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The new model's name.", callback=model_name)
    ],
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="MODEL[@VERSION]", help="A stored model with its spec."),
    ] = None,
    layout: Annotated[
        Path | None,
        typer.Option("--layout", metavar="FILE", help="A JSON list of tensors, or a model spec."),
    ] = None,
    architecture: Annotated[
        list[str] | None,
        typer.Option(
            "--architecture",
            metavar="FRAMEWORK=JSON",
            help="""torch='{"name": "mlp", "config": {"layers": [64, 32, 10]}}'; repeatable.""",
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option("--input", metavar="SHAPE", help="Of a row, beside --architecture: 28,28,1."),
    ] = None,
    init: Annotated[
        str, typer.Option("--init", metavar="|".join(INITS), help="How its weights are made.")
    ] = "zeros",
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of --init random: the same on every machine.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Store the first version of a model: zeros, drawn numbers, or as a framework begins.

    Its spec is that of another model (--like), of a file (--layout), or of architectures, of which
    one must be installed here to tell the layout. With zeros, statistics of normalizations begin as
    the framework begins them, if it is installed here. To store weights that you have, use
    `fedbus models push`; to serve another version than the latest, `fedbus models promote`.
    """
    architectures = dict(map(_architecture, architecture or ()))
    if sum(map(bool, (like, layout, architectures))) != 1:
        raise SettingsError("give one of --like, --layout and --architecture")
    row = read_shape(shape)
    if row is not None and not architectures:
        raise SettingsError("--input belongs to --architecture; a spec has it itself")
    if init not in INITS:
        raise SettingsError(f"--init: expected one of {', '.join(INITS)}, got {init!r}")
    made = call(
        broker_of(ctx),
        lambda fed: fed.create_empty(
            name,
            like=like,
            layout=layout,
            architectures=architectures or None,
            input_shape=row,
            init=cast("Init", init),
            seed=seed,
        ),
    )
    for warning in made.warnings:
        display.warn(warning)
    if as_json:
        display.print_json(codec.to_plain(made.ref))
    else:
        display.show(f"{made.model} is stored as version {made.version}")


def _architecture(said: str) -> tuple[str, dict[str, Any]]:
    framework, equals, config = said.partition("=")
    try:
        read = json.loads(config) if equals else None
    except ValueError:
        read = None
    if not framework or not isinstance(read, dict):
        raise SettingsError(
            f"--architecture: expected FRAMEWORK=JSON, as "
            """torch='{"name": "mlp", "config": {"layers": [64, 32, 10]}}', """
            f"got {said[:80]!r}"
        )
    return framework, read
