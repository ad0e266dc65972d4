"""Model argument of `fedbus models push` and `fedbus simulate`: a spec file or a factory."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from fedbus.cli.inputs.model_options import read_config, read_shape
from fedbus.cli.output import display
from fedbus.client.model_inputs import NO_INPUT_TERMS, InputTerms
from fedbus.client.model_outputs import NO_OUTPUT_OPTIONS, OutputOptions
from fedbus.client.model_source import prepare_model
from fedbus.client.packed_model import PackedModel
from fedbus.frameworks.outputs import ANSWERS

WeightsFile = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE.npz",
        help="Weights, as `models pull` writes them; by default those of the factory's model, or "
        "new ones of an installed framework.",
    ),
]
Config = Annotated[
    str | None, typer.Option("--config", metavar="JSON", help="Keyword arguments for a factory.")
]
Shape = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="Shape of one row of a factory's model, as 64 or 28,28,1; Keras models have it.",
    ),
]

Answers = Annotated[
    str | None,
    typer.Option(
        "--answers",
        metavar="|".join(ANSWERS),
        help="Kind of the model's outputs; by default derived from its loss and last layer.",
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="A,B,C|FILE",
        help="Names of the outputs, in their order; a file has one name per line.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Options of a model, as they are on the command line."""

    weights: Path | None = None
    name: str | None = None
    config: str | None = None
    shape: str | None = None
    outputs: OutputOptions = NO_OUTPUT_OPTIONS
    local_terms: bool = False
    inputs: InputTerms = NO_INPUT_TERMS


def packed_model(what: str, options: ModelOptions) -> PackedModel:
    """Read a spec or call a factory, and train the model for one step.

    Raises:
        SettingsError: `what` is neither a spec nor a factory, or does not take these options.
        FedbusError: the model is too large to send, or does not train.
    """
    made = prepare_model(
        what,
        weights=options.weights,
        name=options.name,
        config=read_config(options.config),
        input_shape=read_shape(options.shape),
        answers=options.outputs.answers,
        classes=options.outputs.classes,
        local_terms=options.local_terms,
        inputs=options.inputs,
    )
    for warning in made.warnings:
        display.warn(warning)
    return replace(made, warnings=())
