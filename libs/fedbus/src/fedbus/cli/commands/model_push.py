"""`fedbus models push`: a version of the caller's spec, model file or factory."""

from typing import Annotated

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.inputs.model_argument import (
    Answers,
    Classes,
    Config,
    ModelOptions,
    Shape,
    WeightsFile,
    packed_model,
)
from fedbus.cli.inputs.model_options import read_classes
from fedbus.cli.interruptible import run_interruptible
from fedbus.cli.output import display, memory_needed
from fedbus.cli.output.spec_text import spec_facts, spec_lines
from fedbus.client.model_inputs import InputTerms
from fedbus.client.model_outputs import OutputOptions
from fedbus.wire import codec


def push(
    ctx: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="SPEC.json|FILE.tflite|FILE.onnx|MODULE:FACTORY",
            help="The model's spec, a model file, or your function that makes the model.",
        ),
    ],
    weights: WeightsFile = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="The model's name; by default that of the spec, or the factory's own."
        ),
    ] = None,
    config: Config = None,
    shape: Shape = None,
    reset: Annotated[
        bool,
        typer.Option("--reset", help="Replace a trained model; its ε begins again at 0."),
    ] = False,
    answers: Answers = None,
    classes: Classes = None,
    local_terms: Annotated[
        bool,
        typer.Option(
            "--local-terms",
            help="Export a factory's .tflite file for FedProx, SCAFFOLD and FedDyn as well; it is "
            "larger, and agents need memory for two more copies of the weights.",
        ),
    ] = False,
    preprocessing: Annotated[
        str | None,
        typer.Option(
            "--preprocessing",
            metavar="FILE|JSON",
            help='Transforms that inference applies to raw rows: [{"id": "normalize", '
            '"parameters": {"high": 16}}], as the pipeline of an agent.',
        ),
    ] = None,
    raw_input: Annotated[
        str | None,
        typer.Option(
            "--raw-input",
            metavar="FILE|JSON",
            help='Format of raw rows, where the transforms change it: {"shape": [28, 28, 3]}.',
        ),
    ] = None,
    number_range: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--range",
            metavar="MIN MAX",
            help="Lowest and highest number of rows in training.",
        ),
    ] = None,
    out_of_range: Annotated[
        str | None,
        typer.Option(
            "--out-of-range",
            metavar="refuse|warn",
            help="What inference does with other numbers; refuse by default.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Store a version of a model: its spec, the files the spec names, its weights.

    The spec is JSON: {"model": name, "layout": [{"name", "shape", "dtype"}, …], "architectures":
    {"tflite": {"blob": "digits.tflite"}, "torch": {"name": "mlp", "config": {…}}}}. A "blob" names
    a file beside the spec, or {"digest", "size"} of a stored one. Without "layout", that of the
    weights is used. `package.module:factory` is called on your machine; its model is pushed as data
    with its weights, and agents rebuild it from their installed packages. A model file needs no
    spec. An .onnx file, and a .tflite file that cannot be trained, plain or quantized, hold their
    own weights: inference answers with them, and no job can train them.
    The model is trained for one step and asked once in each of its frameworks that is installed
    here; if that fails, it is not pushed.
    A trained model is not replaced without --reset; the pushed version is then served and trained,
    and ε begins again at 0. A model equal to the latest version is stored again only with --reset,
    and only if a job has used it since. Without --classes it keeps the class names of the version
    before, if layout and answers are the same.
    """
    inputs = InputTerms(
        preprocessing=preprocessing,
        raw_input=raw_input,
        range=number_range,
        out_of_range=out_of_range,
    )
    outputs = OutputOptions(answers=answers, classes=read_classes(classes))
    options = ModelOptions(
        weights=weights,
        name=name,
        config=config,
        shape=shape,
        outputs=outputs,
        inputs=inputs,
        local_terms=local_terms,
    )
    packed = run_interruptible(lambda _: packed_model(what, options))
    with display.transfer_progress(packed.push.model, packed.size) as moved:
        pushed = call(broker_of(ctx), lambda fed: fed.push(packed, reset=reset, progress=moved))
    for warning in pushed.warnings:
        display.warn(warning)
    if as_json:
        display.print_json({**codec.to_plain(pushed.ref), **spec_facts(pushed.spec)})
        return
    display.show(f"{pushed.model} is stored as version {pushed.version}")
    for line in spec_lines(pushed.spec, derived=answers is None):
        display.show(line)
    display.show(memory_needed.format_memory_needed(pushed.spec))
