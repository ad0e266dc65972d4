"""`fedbus infer`: prediction requests to the inference service."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.inputs.infer_rows import (
    is_array,
    is_image,
    normalized_in,
    only_file,
    read_images,
    read_json_inputs,
    read_rows,
)
from fedbus.cli.inputs.local_models import load_local_model, raw_inputs
from fedbus.cli.output import display
from fedbus.cli.output.encryption_text import format_unserved
from fedbus.cli.output.prediction_text import print_answer
from fedbus.client import stored_models
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.client.inference import JSON, MSGPACK, encode, target_of
from fedbus.errors import SettingsError
from fedbus.model.layout import Array
from fedbus.wire.documents import ModelSpec

MODEL_SUFFIXES = (".tflite", ".onnx")


def infer(
    ctx: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL[@VERSION]",
            help="The model's name, or one of its versions by number, alias or tag: digits@3, "
            "digits@production; not with --local.",
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE…",
            help='An .npy or .npz array, a .csv table, images, or JSON: {"inputs": [[…], …]} or '
            "[[…], …].",
        ),
    ] = None,
    local: Annotated[
        Path | None,
        typer.Option(
            "--local",
            metavar="PATH",
            help="Run this model here instead: a .tflite file, a spec, or a folder of them.",
        ),
    ] = None,
    more: Annotated[
        list[Path] | None,
        typer.Option("--input", metavar="FILE", help="The same as FILE, behind --local."),
    ] = None,
    image: Annotated[
        bool, typer.Option("--image", help="Read the files as images, whatever their suffix.")
    ] = False,
    normalized: Annotated[
        bool | None,
        typer.Option(
            "--normalized/--bytes",
            help="Send pixels as 0 to 1, or as 0 to 255; by default as the model's spec states.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="NAME", help="Array of an .npz file; x by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send inputs to the inference service and print the predictions of a model.

    MODEL is answered by its newest version, or by the alias that the service serves.

    Images are converted to the rows of the model's spec: size, grey or colour, channels first or
    last, values from 0 to 1 if the spec has normalized rows. Arrays and tables are sent unchanged.

    With --local no service and no broker is needed: the model runs in this process, with the
    package fedbus-inference. PATH is a .tflite file as converters write it, a model spec (JSON)
    beside its files, or a folder with either; of folders 1, 2 … the last one is taken. Its answers
    are those of the service.

    fedbus infer digits x.npy

    fedbus infer digits@production x.npy

    fedbus infer --local digits.tflite --input x.npy
    """
    given = [*(files or ()), *(more or ())]
    options = InputOptions(key, image=image, normalized=normalized)
    if local is not None:
        given = [Path(model), *given] if model is not None else given
        answer = infer_locally(local, given, options)
    elif model is None or not given:
        raise SettingsError(
            "expected MODEL and FILE; or --local PATH and --input FILE, to run a model here"
        )
    elif Path(model).suffix in MODEL_SUFFIXES and Path(model).is_file():
        raise SettingsError(
            f"{model} is a file; to run it here: fedbus infer --local {model} --input {given[0]}"
        )
    else:
        answer = ask_service(broker_of(ctx), target_of(model), given, options)
    if as_json:
        display.print_json(answer)
    else:
        print_answer(answer)


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How files are read: the array of an .npz file, and how images become rows."""

    key: str | None = None
    image: bool = False
    normalized: bool | None = None

    def has_images(self, files: Sequence[Path]) -> bool:
        """Return whether files are read as images."""
        return self.image or all(map(is_image, files))

    def read_images(self, files: Sequence[Path], spec: ModelSpec) -> Array:
        """Read images as rows of a model, with a warning where their range is not stated."""
        rows = read_images(files, spec, normalized=self.normalized)
        if self.normalized is None and normalized_in(spec) is None:
            display.warn(
                f"the spec of {spec.model} does not state whether rows are normalized, so pixels "
                "are sent as 0 to 255; add --normalized if the agents' data has pixels from 0 to "
                "1, --bytes if it has 0 to 255"
            )
        return rows


def ask_service(
    here: BrokerLogin, model: str, files: Sequence[Path], options: InputOptions
) -> dict[str, Any]:
    """Return the answer of the inference service to a request for `MODEL` or `MODEL@VERSION`.

    A note says why an older version answers than the newest one, unless the request chose it.
    """
    if options.has_images(files):
        spec = call(here, lambda fed: fed.model(model, limit=1)).spec
        payload, kind = encode(options.read_images(files, spec)), MSGPACK
    else:
        payload, kind = encode_file(only_file(files), options.key)
    answer = asyncio.run(predict(here, model, payload, kind))
    if "@" in model:
        return answer
    latest = call(here, lambda fed: stored_models.latest(fed.connection, model))
    if latest is not None and (unserved := format_unserved(latest, answer["version"])):
        display.note(unserved)
    return answer


def infer_locally(path: Path, files: Sequence[Path], options: InputOptions) -> dict[str, Any]:
    """Return the answer of a model that runs in this process.

    Raises:
        SettingsError: there is no model or no input, or a file cannot be read.
        FedbusError: the model is damaged, or the inputs are not what it takes.
    """
    if not files:
        raise SettingsError("--local: expected inputs for the model, as --input FILE")
    model = load_local_model(path)
    for warning in model.warnings:
        display.warn(warning)
    if options.has_images(files):
        return model.answer(raw_inputs(options.read_images(files, model.spec)))
    file = only_file(files)
    if is_array(file):
        return model.answer(raw_inputs(read_rows(file, options.key)))
    return model.answer(read_json_inputs(file)["inputs"])


def encode_file(file: Path, key: str | None = None) -> tuple[bytes, str]:
    """Return the payload and content type of a request: raw bytes for an array, else JSON.

    Raises:
        SettingsError: the file cannot be read, or has no inputs.
    """
    if is_array(file):
        return encode(read_rows(file, key)), MSGPACK
    return json.dumps(read_json_inputs(file)).encode(), JSON


async def predict(here: BrokerLogin, model: str, payload: bytes, kind: str) -> dict[str, Any]:
    """Send a request to the inference service, and return its answer with lists for arrays.

    Raises:
        Refused: the service refused the request.
        Unreachable: the service does not answer.
    """
    async with Client(here) as fed:
        answer = await fed.infer_encoded(model, payload, kind)
    return {name: _plain(value) for name, value in answer.items()}


def _plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
