"""The model named to `fedbus models push` and `fedbus simulate`: a spec, or a factory."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from fedbus.cli.inputs.model_options import read_config, read_shape
from fedbus.cli.output import display
from fedbus.client.model_outputs import NO_OUTPUT_OPTIONS, OutputOptions
from fedbus.client.model_source import prepare_model
from fedbus.client.packing import PackedModel
from fedbus.frameworks.outputs import ANSWERS

WeightsFile = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE.npz",
        help="Named arrays, as `models pull` writes them; by default those of the factory's "
        "model, or what a framework makes that is installed here.",
    ),
]
Config = Annotated[
    str | None, typer.Option("--config", metavar="JSON", help="What to call a factory with.")
]
Shape = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="Of a row that a factory's model takes, as 64 or 28,28,1; Keras models say it.",
    ),
]

AnswersSaid = Annotated[
    str | None,
    typer.Option(
        "--answers",
        metavar="|".join(ANSWERS),
        help="What the model answers; its loss and last layer say it by default.",
    ),
]
ClassesSaid = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="A,B,C|FILE",
        help="What its outputs are called, in their order; a file has one name a line.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is said beside the spec or the factory, as the options have it."""

    weights: Path | None = None
    name: str | None = None
    config: str | None = None
    shape: str | None = None
    said: OutputOptions = NO_OUTPUT_OPTIONS


def packed_model(what: str, given: Given) -> PackedModel:
    """Read a spec or call a factory, and have what it makes train a step here.

    Raises:
        SettingsError: it is neither, or the options do not go with it.
        FedbusError: what it makes does not fit the bus, or does not train.
    """
    made = prepare_model(
        what,
        weights=given.weights,
        name=given.name,
        config=read_config(given.config),
        input_shape=read_shape(given.shape),
        answers=given.said.answers,
        classes=given.said.classes,
    )
    for warning in made.warnings:
        display.warn(warning)
    return replace(made, warnings=())
