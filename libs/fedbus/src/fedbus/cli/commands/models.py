"""`fedbus models`: push, list, show, pull."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fedbus.cli import exit_codes
from fedbus.cli.commands.empty_model import create_empty
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
from fedbus.cli.inputs.version_argument import ModelVersion
from fedbus.cli.interruptible import run_interruptible
from fedbus.cli.output import display, memory_needed
from fedbus.cli.output.encryption_text import format_encryption
from fedbus.cli.output.epsilon_text import format_model_epsilon
from fedbus.cli.output.model_history import DEFAULT_VERSIONS, print_history
from fedbus.cli.output.name_history import format_named
from fedbus.cli.output.times import format_age
from fedbus.cli.output_files import check_writable
from fedbus.client import stored_models
from fedbus.client.asyncio_client import Client
from fedbus.client.derived_models import LEAST_RELEASED_AGENTS
from fedbus.client.kept_versions import check_kept
from fedbus.client.model_formats import STDOUT, SUFFIXES, choose_format, model_file, save_model
from fedbus.client.model_inputs import InputTerms
from fedbus.client.model_outputs import OutputOptions, describe_outputs
from fedbus.client.names import version_choice
from fedbus.client.results import PulledModel, PushedModel, StoredModel
from fedbus.client.stored_models import VERSIONS
from fedbus.errors import SettingsError
from fedbus.wire import codec

app = typer.Typer(no_args_is_help=True, help="Push, list, show and pull models.")

Version = Annotated[
    int | None, typer.Option("--version", help="The number of a version, in place of the @.")
]


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
    version: Version = None,
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
        plain = codec.to_plain(report.spec)
        output_facts = {key: plain[key] for key in ("answers", "classes")}
        display.print_json({**codec.to_plain(report.shown), **output_facts})
        return
    outputs = describe_outputs(report.spec)
    choice = version_choice(model, version)
    chosen = choice.version is not None or choice.name is not None
    print_history(report.shown, outputs, contributors=chosen)


@app.command()
def pull(
    ctx: typer.Context,
    model: ModelVersion,
    version: Version = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="MODEL-vVERSION.npz by default; - is standard output.",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(SUFFIXES),
            help="By default FILE's suffix, or npz; the framework's own need it, onnx one of them.",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            metavar="FILE",
            help="The secret key file of the agents, to decrypt an encrypted version.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download a version's weights as named arrays, as a file of a framework, or as ONNX.

    npz and safetensors have the layout's names and shapes, which differ from those of torch:
    `fedbus.load_into(model, FILE)` loads them into a torch, Keras or TFLite model. Load torch with
    `net.load_state_dict(torch.load(FILE, weights_only=True))`, keras with
    `keras.models.load_model(FILE)`, tflite with a TFLite interpreter.

    onnx is the whole model for any runtime, with one input, `inputs`, of any number of rows, and
    one output, `outputs`. It is exported by torch or Keras, and written only if its answers equal
    theirs. safetensors and onnx files say in their metadata which version they hold.
    """
    kind = choose_format(form, output)
    if output != STDOUT:
        check_writable(output or Path("weights.npz"))
    elif as_json or sys.stdout.isatty():
        raise SettingsError(
            "-o -: the file goes to standard output, "
            + ("as --json does; choose one" if as_json else "which is a terminal; redirect it")
        )
    pulled = call(broker_of(ctx), partial(_pull, model, version, key))
    ref, arrays = pulled.ref, pulled.weights
    if form is None and output in {None, STDOUT}:
        kind = pulled.own_format or kind
    path = output or Path(f"{ref.model}-v{ref.version}{SUFFIXES[kind]}")
    if output == STDOUT:
        sys.stdout.buffer.write(model_file(kind, pulled))
        return
    save_model(path, kind, pulled)
    if ref.encryption is not None:
        display.note(f"{path} is decrypted: every user who can open it can read the weights")
    if as_json:
        display.print_json({**codec.to_plain(ref), "file": str(path)})
        return
    numbers = sum(array.size for array in arrays.values())
    content = f"{len(arrays)} arrays, {numbers} numbers"
    if pulled.file is not None:
        content = f"its file, {display.format_size(len(pulled.file))}"
    display.show(f"{path}: {ref.model} version {ref.version}, {content}")


@app.command()
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
        plain = codec.to_plain(pushed.spec)
        output_facts = {key: plain[key] for key in ("answers", "classes")}
        display.print_json({**codec.to_plain(pushed.ref), **output_facts})
        return
    display.show(f"{pushed.model} is stored as version {pushed.version}")
    display.show(f"it answers {describe_outputs(pushed.spec, derived=answers is None)}")
    display.show(memory_needed.format_memory_needed(pushed.spec))


app.command("create-empty")(create_empty)


@app.command()
def release(
    ctx: typer.Context,
    model: ModelVersion,
    key: Annotated[
        Path, typer.Option("--key", metavar="FILE", help="The secret key file of the agents.")
    ],
    version: Version = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Let an older version replace the latest.")
    ] = False,
    least_agents: Annotated[
        int,
        typer.Option(
            min=1, help="The fewest updates in its sum; with 1, one agent's update may be shown."
        ),
    ] = LEAST_RELEASED_AGENTS,
    as_json: AsJson = False,
) -> None:
    """Decrypt an encrypted version on this machine, and store it as a new one that all can read.

    Any job can train from it, and inference services serve it. It keeps the metrics and the ε of
    its source, and the history of the model says who released it. Encrypted jobs that follow start
    from it: it is their anchor.
    """
    made = call(broker_of(ctx), partial(_release, model, version, key, reset, least_agents))
    if as_json:
        display.print_json(codec.to_plain(made.ref))
    else:
        display.show(f"{made.model} is released as version {made.version}, which is not encrypted")


async def _release(
    model: str, version: int | None, key: Path, reset: bool, least_agents: int, fed: Client
) -> PushedModel:
    choice = version_choice(model, version)
    ref = (await stored_models.show(fed.connection, choice, limit=1)).version
    size = sum(blob_ref.size for blob_ref in stored_models.blobs_of(ref))
    with display.transfer_progress(f"{ref.model} version {ref.version}", size) as moved:
        return await fed.release(
            ref.model,
            ref.version,
            key=key,
            reset=reset,
            least_agents=least_agents,
            progress=moved,
        )


async def _pull(model: str, version: int | None, key: Path | None, fed: Client) -> PulledModel:
    choice = version_choice(model, version)
    shown = await stored_models.show(fed.connection, choice, limit=1)
    check_kept(shown)
    ref = shown.version
    size = sum(blob_ref.size for blob_ref in stored_models.blobs_of(ref))
    with display.transfer_progress(f"{ref.model} version {ref.version}", size) as moved:
        pulled = await fed.fetch(ref, progress=moved, key=key)
    return replace(pulled, facts=next(iter(shown.history), None))
