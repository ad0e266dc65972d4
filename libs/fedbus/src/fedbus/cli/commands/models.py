"""`fedbus models`: push, list, show, pull."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from fedbus.cli.context import broker_of
from fedbus.cli.inputs.model_argument import (
    AnswersSaid,
    ClassesSaid,
    Config,
    Given,
    Shape,
    WeightsFile,
    packed_model,
)
from fedbus.cli.inputs.model_options import read_classes
from fedbus.cli.inputs.names import model_name
from fedbus.cli.interruptible import aside
from fedbus.cli.output import display, memory_needed
from fedbus.cli.output.model_history import LINES, print_trail
from fedbus.cli.output.times import age
from fedbus.cli.pulled_files import SUFFIXES, format_of, write_model
from fedbus.cli.weights_file import check_writable
from fedbus.client import stored_models
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.client.model_outputs import OutputOptions, describe_outputs
from fedbus.client.packing import PackedModel
from fedbus.client.results import ModelHistory, PulledModel, PushedModel, StoredModel
from fedbus.client.stored_models import VERSIONS
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec

app = typer.Typer(no_args_is_help=True, help="Push, list, show and pull models.")

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="The model's name.", callback=model_name)
]
Version = Annotated[int | None, typer.Option("--version", help="The latest by default.")]


@app.command("list")
def list_them(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the latest version of every model."""
    found = asyncio.run(_models(broker_of(ctx)))
    if as_json:
        display.print_json([{**codec.to_plain(each.ref), "at": each.created} for each in found])
        return
    display.print_table(
        ("MODEL", "VERSION", "AGE", "WEIGHTS", "DIGEST", "SOURCE"),
        (
            (
                each.model,
                each.version,
                age(each.created),
                display.size(each.ref.weights.size),
                each.ref.weights.digest[:12],
                each.ref.source,
            )
            for each in found
        ),
        nothing="no models yet; `fedbus models push SPEC.json` brings one",
    )


@app.command("show")
def show_model(
    ctx: typer.Context,
    model: Model,
    version: Version = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=f"Versions to show; {LINES} by default.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show the whole trail.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a version of a model and the versions before it, the newest last.

    Weights are kept of the newest versions, of the best one and of those that were pushed; the
    trail of all others stays. --json has the newest first, and without --limit or --all as many as
    one answer holds; "versions" counts all of them.
    """
    wanted = None if everything else limit or (VERSIONS if as_json else LINES)
    report = asyncio.run(_model(broker_of(ctx), model, version, wanted))
    if as_json:
        plain = codec.to_plain(report.spec)
        both = {key: plain[key] for key in ("answers", "classes")}
        display.print_json({**codec.to_plain(report.shown), **both})
        return
    print_trail(report.shown, describe_outputs(report.spec))


@app.command()
def pull(
    ctx: typer.Context,
    model: Model,
    version: Version = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="MODEL-vVERSION.npz by default."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(SUFFIXES),
            help="npz by default, or as FILE ends; torch, keras and tflite need the framework.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a version's weights as named arrays, or as a file that a framework loads.

    npz and safetensors have the layout's own names and shapes, which differ from those of torch:
    `fedbus.load_into(model, FILE)` loads them into a torch, Keras or TFLite model. torch is for
    `net.load_state_dict(torch.load(FILE, weights_only=True))`, keras for
    `keras.models.load_model(FILE)`, tflite for a TFLite interpreter.
    """
    check_writable(output or Path("weights.npz"))
    kind = format_of(form, output)
    pulled = asyncio.run(_pull(broker_of(ctx), model, version))
    ref, arrays = pulled.ref, pulled.weights
    path = output or Path(f"{ref.model}-v{ref.version}{SUFFIXES[kind]}")
    write_model(path, kind, ref, pulled.spec, arrays)
    if as_json:
        display.print_json({**codec.to_plain(ref), "file": str(path)})
        return
    numbers = sum(array.size for array in arrays.values())
    display.say(
        f"{path}: {ref.model} version {ref.version}, {len(arrays)} arrays, {numbers} numbers"
    )


@app.command()
def push(
    ctx: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="SPEC.json|MODULE:FACTORY",
            help="The model's spec, or your own code that makes the model.",
        ),
    ],
    weights: WeightsFile = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of a factory's model; its own by default.")
    ] = None,
    config: Config = None,
    shape: Shape = None,
    reset: Annotated[
        bool,
        typer.Option("--reset", help="Take the place of versions that were trained."),
    ] = False,
    answers: AnswersSaid = None,
    classes: ClassesSaid = None,
    as_json: AsJson = False,
) -> None:
    """Store a version of a model: its spec, the files the spec names, its weights.

    The spec is JSON: {"model": name, "layout": [{"name", "shape", "dtype"}, …], "architectures":
    {"tflite": {"blob": "digits.tflite"}, "torch": {"name": "mlp", "config": {…}}}}. A "blob" names
    a file beside the spec, or {"digest", "size"} of one there. Without "layout" the weights say it.
    `package.module:factory` is called here, on your machine; what it makes is pushed as data, with
    its weights, and agents make it again from what they have installed.
    The model takes one step of training and answers once in each of its frameworks that is
    installed here: what fails at that is not pushed.
    What is the latest version already is not stored twice. A model that was trained is left as it
    is, unless --reset says so: what is pushed is served and trained from then on. Without --classes
    it keeps the class names of the version before, if it has the same layout and answers.
    """
    said = OutputOptions(answers=answers, classes=read_classes(classes))
    given = Given(weights=weights, name=name, config=config, shape=shape, said=said)
    made = aside(lambda _: packed_model(what, given))
    here = broker_of(ctx)
    pushed = asyncio.run(push_model(here, made, reset=reset))
    for warning in pushed.warnings:
        display.warn(warning)
    if as_json:
        plain = codec.to_plain(pushed.spec)
        both = {key: plain[key] for key in ("answers", "classes")}
        display.print_json({**codec.to_plain(pushed.ref), **both})
        return
    display.say(f"{pushed.model} is stored as version {pushed.version}")
    display.say(f"it answers {describe_outputs(pushed.spec, derived=answers is None)}")
    display.say(memory_needed.sentence_of(pushed.spec))


async def _models(here: BrokerLogin) -> tuple[StoredModel, ...]:
    async with Client(here) as fed:
        return await fed.models()


async def _model(
    here: BrokerLogin, model: str, version: int | None, limit: int | None
) -> ModelHistory:
    async with Client(here) as fed:
        return await fed.model(model, version, limit=limit)


async def push_model(here: BrokerLogin, packed: PackedModel, *, reset: bool = False) -> PushedModel:
    """Push a model, with a bar for its bytes; without `reset`, a trained one is not replaced."""
    with display.carrying(packed.push.model, packed.size) as moved:
        async with Client(here) as fed:
            return await fed.push(packed, reset=reset, progress=moved)


async def _pull(here: BrokerLogin, model: str, version: int | None) -> PulledModel:
    async with Client(here) as fed:
        shown = await stored_models.show(fed.connection, model, version, limit=1)
        stored_models.check_kept(shown)
        ref = shown.version
        what, size = f"{ref.model} version {ref.version}", ref.spec.size + ref.weights.size
        with display.carrying(what, size) as moved:
            return await fed.fetch(ref, progress=moved)


async def fetch_spec(here: BrokerLogin, model: str) -> ModelSpec:
    """Fetch the spec of a model's latest version."""
    return (await _model(here, model, None, 1)).spec
