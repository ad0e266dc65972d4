"""`fedbus infer`: ask the inference service, as a foreign client would."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import msgpack
import numpy as np
import typer

from fedbus.cli import show
from fedbus.cli.client import connected
from fedbus.cli.exits import Failed, Refused
from fedbus.cli.here import broker_of
from fedbus.cli.names import model_name
from fedbus.cli.where import Where
from fedbus.errors import LayoutError, SettingsError, WireError
from fedbus.layout import Array
from fedbus.npz import read_npy
from fedbus.wire.json_reader import read_json
from fedbus.wire.topics import INFERENCE

JSON = "application/json"
MSGPACK = "application/msgpack"
ROWS = 20


def infer(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model's name.", callback=model_name)
    ],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help='An .npy array, or JSON: {"inputs": [[…], …]} or bare [[…], …].'
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Send inputs to the inference service and print what the newest version answers."""
    payload, kind = request(file)
    answer = asyncio.run(ask(broker_of(ctx), model, payload, kind))
    if as_json:
        show.print_json(answer)
        return
    show.say(f"{answer['model']} version {answer['version']}")
    rows = answer["outputs"]
    for number, row in enumerate(rows[:ROWS], start=1):
        show.say(f"{number:>4}  {row_line(row)}")
    if len(rows) > ROWS:
        show.say(f"      … and {len(rows) - ROWS} more; --json prints all")


def request(file: Path) -> tuple[bytes, str]:
    """Make a request of a file: an array crosses as raw bytes, JSON as it is.

    Raises:
        SettingsError: the file cannot be read, or holds no inputs.
    """
    try:
        if file.suffix == ".npy":
            return msgpack.packb({"inputs": raw(read_npy(file))}), MSGPACK
        said = read_json(file.read_bytes())
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror or error}") from error
    except (LayoutError, ValueError, WireError) as error:
        raise SettingsError(f"{file}: neither an .npy array nor JSON: {error}") from error
    if isinstance(said, list):
        said = {"inputs": said}
    if not isinstance(said, dict) or "inputs" not in said:
        raise SettingsError(f'{file}: a request is {{"inputs": [[…], …]}}')
    return json.dumps(said).encode(), JSON


async def ask(here: Where, model: str, payload: bytes, kind: str) -> dict[str, Any]:
    """Ask the inference service.

    Raises:
        Refused: it says why it has no answer.
        Unreachable: it does not answer.
    """
    topic = here.topic(INFERENCE, model=model)
    async with connected(here) as client:
        packet = await client.ask(topic, payload, of="the inference service", content_type=kind)
    answer = _read(packet.payload, kind)
    if "error" in answer:
        raise Refused(f"{model}: {answer['error']}")
    return answer


def _read(payload: bytes, kind: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(payload) if kind == JSON else msgpack.unpackb(payload)
        if "error" not in answer and isinstance(answer["outputs"], dict):
            answer["outputs"] = array_of(answer["outputs"]).tolist()
    except (KeyError, TypeError, ValueError) as error:
        raise Failed(f"an answer that cannot be read: {error!r}") from error
    return answer


def raw(array: Array) -> dict[str, Any]:
    """Write an array as a request carries it: little-endian bytes, row by row."""
    array = np.ascontiguousarray(array)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": little.tobytes()}


def array_of(raw: dict[str, Any]) -> Array:
    """Read an array of an answer."""
    dtype = np.dtype(raw["dtype"]).newbyteorder("<")
    return np.frombuffer(raw["data"], dtype).reshape(raw["shape"])


def row_line(row: object) -> str:
    """Write one row of outputs: the largest of them first, since for a classifier that is it."""
    if isinstance(row, list) and row and all(isinstance(n, int | float) for n in row):
        best = int(np.argmax(row))
        return f"{best}  ({show.metric('', row[best])})  {' '.join(f'{n:.3f}' for n in row)}"
    return str(row)
