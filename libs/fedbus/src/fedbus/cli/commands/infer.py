"""`fedbus infer`: ask the inference service, as a foreign client would."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fedbus.cli.commands.models import fetch_spec
from fedbus.cli.context import broker_of
from fedbus.cli.inputs.infer_rows import (
    TABLES,
    is_picture,
    read_pictures,
    read_rows,
    says_normalized,
)
from fedbus.cli.inputs.names import model_name
from fedbus.cli.output import display
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.client.inference import JSON, MSGPACK, encode
from fedbus.errors import SettingsError, WireError
from fedbus.rounding import format_percent
from fedbus.wire.json_reader import read_json

ROWS = 20
NUMBERS = 12
"""Outputs of a row that are printed."""


def infer(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model's name.", callback=model_name)
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…",
            help='An .npy or .npz array, a .csv table, pictures, or JSON: {"inputs": [[…], …]} or '
            "bare [[…], …].",
        ),
    ],
    image: Annotated[
        bool, typer.Option("--image", help="The files are pictures, whatever they are called.")
    ] = False,
    normalized: Annotated[
        bool | None,
        typer.Option(
            "--normalized/--bytes",
            help="Pixels are sent as 0 to 1, or as 0 to 255, where the model's spec does not say.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="NAME", help="The array of an .npz; x by default."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Send inputs to the inference service and print what the newest version answers.

    Pictures are brought to what the model's spec says of its rows: size, grey or colours, channels
    first or last, 0 to 1 where it says normalized. Arrays and tables are sent as they are.
    """
    here = broker_of(ctx)
    if image or all(map(is_picture, files)):
        spec = asyncio.run(fetch_spec(here, model))
        inputs = read_pictures(files, spec, normalized=normalized)
        if normalized is None and says_normalized(spec) is None:
            display.warn(
                f"the spec of {model} does not say whether its rows are normalized, so pixels are "
                "sent as 0 to 255; add --normalized if the agents' data has pixels from 0 to 1, "
                "--bytes if it has 0 to 255"
            )
        payload, kind = encode(inputs), MSGPACK
    elif len(files) > 1:
        raise SettingsError(f"{len(files)} files: several pictures, or one file of another kind")
    else:
        payload, kind = request(files[0], key)
    answer = asyncio.run(ask(here, model, payload, kind))
    if as_json:
        display.print_json(answer)
    else:
        print_answer(answer)


def request(file: Path, key: str | None = None) -> tuple[bytes, str]:
    """Make a request of a file: an array crosses as raw bytes, JSON as it is.

    Raises:
        SettingsError: the file cannot be read, or holds no inputs.
    """
    if file.suffix.lower() in {".npy", ".npz", *TABLES}:
        return encode(read_rows(file, key)), MSGPACK
    try:
        said = read_json(file.read_bytes())
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror or error}") from error
    except (ValueError, WireError) as error:
        raise SettingsError(
            f"{file}: neither JSON nor named as an array (.npy, .npz), a table (.csv) or a "
            f"picture: {error}"
        ) from error
    if isinstance(said, list):
        said = {"inputs": said}
    if not isinstance(said, dict) or "inputs" not in said:
        raise SettingsError(f'{file}: a request is {{"inputs": [[…], …]}}')
    return json.dumps(said).encode(), JSON


async def ask(here: BrokerLogin, model: str, payload: bytes, kind: str) -> dict[str, Any]:
    """Send a request to the inference service, and return its answer as JSON has it.

    Raises:
        Refused: it says why it has no answer.
        Unreachable: it does not answer.
    """
    async with Client(here) as fed:
        answer = await fed.infer_encoded(model, payload, kind)
    return {name: _plain(value) for name, value in answer.items()}


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever an answer holds
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def print_answer(answer: Mapping[str, Any]) -> None:
    """Print an answer for people: a line for each row, what it means first."""
    means = f", {answer['answers']}" if "answers" in answer else ""
    display.say(f"{answer['model']} version {answer['version']}{means}")
    outputs = answer["outputs"]
    several = outputs if isinstance(outputs, dict) else {"": outputs}
    for name, rows in several.items():
        if name:
            display.say(f"{name}:")
        for number, row in enumerate(rows[:ROWS]):
            display.say(f"{number + 1:>4}  {row_line(row, _meant(answer, number))}")
        if len(rows) > ROWS:
            display.say(f"      … and {len(rows) - ROWS} more; --json prints all")


def _meant(answer: Mapping[str, Any], number: int) -> str:
    """Say what a row's outputs mean: the class and how sure the model is, or the labels."""
    likely = answer.get("probabilities", answer["outputs"])
    if "labels" in answer:
        return ", ".join(map(str, answer["labels"][number])) or "none"
    named = answer["classes"][number] if "classes" in answer else None
    if named is None or isinstance(named, list):  # a class at each place: their numbers follow
        return "" if named is None else " ".join(map(str, named[:NUMBERS]))
    row = likely[number]
    shares = row if isinstance(row, list) else [row]
    sure = max(shares) if len(shares) > 1 else max(shares[0], 1 - shares[0])
    return f"{named}  ({format_percent(sure)})"


def row_line(row: object, meant: str = "") -> str:
    """Write one row of outputs, behind what they mean."""
    numbers = row if isinstance(row, list) else [row]
    if all(isinstance(number, int | float) for number in numbers):
        said = " ".join(f"{number:.4g}" for number in numbers[:NUMBERS])
        more = len(numbers) - NUMBERS
        said += f" … {more} more" if more > 0 else ""
    else:
        said = str(row)
    return f"{meant}  {said}" if meant else said
