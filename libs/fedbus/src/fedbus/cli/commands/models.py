"""`fedbus models`: push, list, show, pull."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from fedbus.blobs.spool import Spool, Spools
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
from fedbus.cli.inputs.names import model_name
from fedbus.cli.interruptible import aside
from fedbus.cli.output import display, memory_needed
from fedbus.cli.output.model_history import ANSWER, LINES, check_kept, fetch_trail, print_trail
from fedbus.cli.output.times import age
from fedbus.cli.pulled_files import SUFFIXES, format_of, write_model
from fedbus.cli.weights_file import check_writable
from fedbus.client.address import Where
from fedbus.client.connection import run
from fedbus.client.failures import Failed
from fedbus.client.model_outputs import Stated, names_of, read_classes, same_outputs, sentence_of
from fedbus.client.packing import PackedModel
from fedbus.client.repository import Errand, Pull, Push, Question
from fedbus.errors import LayoutError, WireError
from fedbus.model.blob import decode
from fedbus.model.layout import Array, Layout
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import ListModels, ModelPushed, ModelShown, ModelsListed, ShowModel
from fedbus.wire.values import ModelRef

IN_MEMORY = 256 * 2**20

R = TypeVar("R")

app = typer.Typer(no_args_is_help=True, help="Push, list, show and pull models.")

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="The model's name.", callback=model_name)
]
Version = Annotated[int | None, typer.Option("--version", help="The latest by default.")]


@app.command("list")
def list_them(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the latest version of every model."""
    listed = asyncio.run(_listed(broker_of(ctx)))
    models = sorted(listed.models, key=lambda model: listed.made.get(model.model, ""))
    if as_json:
        made = listed.made
        display.print_json([{**codec.to_plain(m), "at": made.get(m.model)} for m in models])
        return
    display.print_table(
        ("MODEL", "VERSION", "AGE", "WEIGHTS", "DIGEST", "SOURCE"),
        (
            (
                m.model,
                m.version,
                age(listed.made.get(m.model)),
                display.size(m.weights.size),
                m.weights.digest[:12],
                m.source,
            )
            for m in models
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
    wanted = None if everything else limit or (ANSWER if as_json else LINES)
    shown, spec = asyncio.run(_show_with_spec(broker_of(ctx), model, version, wanted))
    if as_json:
        plain = codec.to_plain(spec)
        both = {key: plain[key] for key in ("answers", "classes")}
        display.print_json({**codec.to_plain(shown), **both})
        return
    print_trail(shown, sentence_of(spec))


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
    ref, spec, arrays = asyncio.run(_pull(broker_of(ctx), model, version))
    path = output or Path(f"{ref.model}-v{ref.version}{SUFFIXES[kind]}")
    write_model(path, kind, ref, spec, arrays)
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
    said = Stated(answers=answers, classes=read_classes(classes))
    given = Given(weights=weights, name=name, config=config, shape=shape, said=said)
    made = aside(lambda _: packed_model(what, given))
    here = broker_of(ctx)
    made, note = asyncio.run(_with_known_classes(here, made))
    pushed = asyncio.run(push_model(here, made, reset=reset))
    if note:
        display.warn(note)
    spec = made.spec()
    if as_json:
        plain = codec.to_plain(spec)
        both = {key: plain[key] for key in ("answers", "classes")}
        display.print_json({**codec.to_plain(pushed), **both})
        return
    display.say(f"{pushed.model} is stored as version {pushed.version}")
    display.say(f"it answers {sentence_of(spec, derived=answers is None)}")
    display.say(memory_needed.sentence_of(spec))


def repository() -> str:
    """Name the repository; there is one to a root."""
    return os.environ.get("FEDBUS_REPOSITORY", "repository.1")


async def list_models(here: Where) -> tuple[ModelRef, ...]:
    """Ask for the latest version of every model."""
    return (await _listed(here)).models


async def _listed(here: Where) -> ModelsListed:
    return await run(here, Question(repository(), ListModels(), ModelsListed))


async def push_model(here: Where, packed: PackedModel, *, reset: bool = False) -> ModelRef:
    """Bring a model; without `reset`, one that has been trained is not pushed over."""
    wish = replace(packed.push, reset=reset)
    errand = Push(repository(), wish, ModelPushed, packed.blobs)
    pushed = await _carried(here, errand, wish.model, sum(map(len, packed.blobs.values())))
    return pushed.version


async def _with_known_classes(here: Where, packed: PackedModel) -> tuple[PackedModel, str]:
    """Keep the class names of the version before where nobody gives others; say so."""
    spec = packed.spec()
    if spec.classes or spec.model not in {each.model for each in await list_models(here)}:
        return packed, ""
    shown, before = await _show_with_spec(here, spec.model, None, 1)
    if not before.classes:
        return packed, ""
    whose = f"the class names of version {shown.version.version}, {names_of(before)}"
    if not same_outputs(spec, before):
        note = "are not kept, as its layout or answers differ; --classes names the outputs"
        return packed, f"{whose}, {note}"
    return packed.with_classes(before.classes), f"{whose}, are kept; --classes gives others"


async def _carried(here: Where, errand: Errand[R], what: str, size: int) -> R:
    with display.carrying(what, size) as errand.moved:
        return await run(here, errand)


async def _show(here: Where, model: str, version: int | None) -> ModelShown:
    message = ShowModel(model=model, version=version)
    return await run(here, Question(repository(), message, ModelShown))


async def _show_with_spec(
    here: Where, model: str, version: int | None, limit: int | None
) -> tuple[ModelShown, ModelSpec]:
    shown = await fetch_trail(here, repository(), model, version, limit)
    ref = shown.version
    got = await run(here, Pull(ref.source, (ref.spec,), Spools(IN_MEMORY)))
    return shown, _spec_of(got[ref.spec.digest])


async def fetch_spec(here: Where, model: str) -> ModelSpec:
    """Fetch the spec of a model's latest version."""
    _, spec = await _show_with_spec(here, model, None, 1)
    return spec


def _spec_of(blob: Spool) -> ModelSpec:
    with blob.read(0, blob.size) as content:
        return codec.from_json(ModelSpec, bytes(content))


async def _pull(
    here: Where, model: str, version: int | None
) -> tuple[ModelRef, ModelSpec, dict[str, Array]]:
    shown = await _show(here, model, version)
    check_kept(shown)
    ref = shown.version
    errand = Pull(ref.source, (ref.spec, ref.weights), Spools(IN_MEMORY))
    what, size = f"{ref.model} version {ref.version}", ref.spec.size + ref.weights.size
    got = await _carried(here, errand, what, size)
    spec, weights = got[ref.spec.digest], got[ref.weights.digest]
    try:
        said = _spec_of(spec)
        blob = weights.read(0, weights.size)  # the arrays are views of it, and keep it
        return ref, said, decode(blob, Layout.read(said.layout), "plain")
    except (LayoutError, WireError) as error:
        raise Failed(f"{ref.model} version {ref.version}: {error}") from error
