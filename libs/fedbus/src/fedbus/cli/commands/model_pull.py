"""`fedbus models pull`: the weights of a version, in a file."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.inputs.version_argument import ModelVersion, VersionNumber
from fedbus.cli.output import display
from fedbus.cli.output_files import check_writable
from fedbus.client import stored_models
from fedbus.client.asyncio_client import Client
from fedbus.client.kept_versions import check_kept
from fedbus.client.model_downloads import blobs_of
from fedbus.client.model_formats import STDOUT, SUFFIXES, choose_format, model_file, save_model
from fedbus.client.names import version_choice
from fedbus.client.results import PulledModel
from fedbus.errors import SettingsError
from fedbus.wire import codec


def pull(
    ctx: typer.Context,
    model: ModelVersion,
    version: VersionNumber = None,
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
    one output, `outputs`, or several with the names that inference answers with. It is exported by
    torch or Keras, and written only if its answers equal theirs. safetensors and onnx files say in
    their metadata which version they hold.
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


async def _pull(model: str, version: int | None, key: Path | None, fed: Client) -> PulledModel:
    choice = version_choice(model, version)
    shown = await stored_models.show(fed.connection, choice, limit=1)
    check_kept(shown)
    ref = shown.version
    size = sum(blob_ref.size for blob_ref in blobs_of(ref))
    with display.transfer_progress(f"{ref.model} version {ref.version}", size) as moved:
        pulled = await fed.fetch(ref, progress=moved, key=key)
    return replace(pulled, facts=next(iter(shown.history), None))
