"""Resident memory of an inference service that answers digits with tflite-runtime alone.

    python -m benchmarks.inference_memory

The service runs in an environment that has its own requirements only (`board_environment.py`): once
with a broker and a repository, asked over the topic, and once alone with a folder of models, asked
over HTTP. Beside them is what the same
computation takes without fedbus, in a program that imports asyncio, numpy and tflite-runtime
and nothing else. Nothing is subtracted: `resident_mb` is VmRSS, of which
`own_mb` belongs to the process alone (RssAnon) and `files_mb` are pages of libraries (RssFile),
which other processes share and the kernel may drop. Exit code 1: `--limit` is exceeded.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.board_environment import board_variables, make_board_environment
from benchmarks.live_inference import digits_repository, live_service
from benchmarks.measure import MB, publish
from benchmarks.one_model import DEMO
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.mqtt.bus import BrokerAddress

ASKED: Final = 100
FLOOR: Final = "asyncio, numpy and tflite-runtime alone"
FLOOR_PROGRAM: Final = """
import asyncio, sys
import numpy as np
from tflite_runtime.interpreter import Interpreter
async def infer():
    call = Interpreter(sys.argv[1], num_threads=1).get_signature_runner("infer")
    for _ in range(int(sys.argv[2])):
        call(x=np.full((1, 64), 0.5, np.float32))
    print("answered", flush=True)
    await asyncio.Event().wait()
asyncio.run(infer())
"""
TOPIC: Final = "topic, with a broker"
ALONE: Final = "HTTP, without a broker"
_FIELDS: Final = {"VmRSS": "resident_mb", "RssAnon": "own_mb", "RssFile": "files_mb"}


def resident(pid: int) -> dict[str, float]:
    """Return the resident memory of a process, in MB of 1e6 bytes."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name in _FIELDS:
            found[_FIELDS[name]] = round(int(value.split()[0]) * 1024 / MB, 1)
    return found


async def ask_topic(broker: BrokerAddress) -> None:
    """Ask over the topic, one digit at a time."""
    row = np.full((1, 64), 0.5, np.float32)
    async with Client(BrokerLogin(broker, "user.bench")) as client:
        for _ in range(ASKED):
            await client.infer("digits", row)


def floor(python: str) -> dict[str, float]:
    """Return the resident memory of a program that answers digits without fedbus."""
    line = [python, "-c", FLOOR_PROGRAM, str(DEMO / "digits.tflite"), str(ASKED)]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"answered\n"
            return resident(process.pid)
        finally:
            process.kill()


def measured(folder: Path) -> list[dict[str, Any]]:
    """Measure both ways of asking, in an environment that is made below a folder."""
    environment = folder / "board"
    python = str(make_board_environment(environment))
    os.environ.update(board_variables(environment))
    rows: list[dict[str, Any]] = [{"asked": FLOOR, **floor(python)}]
    with (
        digits_repository(folder) as broker,
        live_service(folder, broker, python=python, http="", grpc="", http_open="") as service,
    ):
        service.until_log("model_swapped")
        asyncio.run(ask_topic(broker))
        rows.append({"asked": TOPIC, **resident(service.process.pid)})
    models = folder / "models/digits"
    models.mkdir(parents=True)
    for name in ("model.json", "digits.tflite"):
        shutil.copy(DEMO / name, models / name)
    body = json.dumps({"instances": [[0.5] * 64]}).encode()
    with live_service(folder, python=python, models=str(models.parent), grpc="") as service:
        service.until_ready()
        for _ in range(ASKED):
            assert service.send("/v1/models/digits:predict", body)[0] == 200
        rows.append({"asked": ALONE, **resident(service.process.pid)})
    return rows


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--limit", type=float, help="MB of 1e6 bytes that the service on the topic may have"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is stdout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedbus-bench-") as folder:
        rows = measured(Path(folder))
    publish({"benchmark": "inference memory", "rows": rows}, rows, options.json)
    if options.limit is not None and rows[1]["resident_mb"] > options.limit:
        sys.exit(f"above {options.limit:g} MB")


if __name__ == "__main__":
    main()
