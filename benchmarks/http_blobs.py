"""Uploads and downloads over the repository's HTTP API against a plain file copy, in one run.

    python -m benchmarks.http_blobs [--mib 256] [--repeat 5]

It starts a repository process with its API and no broker, and prints for each way of an upload and
for a download: seconds, the ratio to a copy of the same file with fsync (or to reading it), and by
how much the process's peak memory rose above its idle one. Each repetition copies, uploads and
downloads in turn, and the medians are printed: a machine that others use is not equally fast twice.
`taskset -c 0 python -m benchmarks.http_blobs` puts curl and the repository on one core.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median

from aiohttp import ClientError, ClientSession

from fedbus.digest import digest_of_file
from fedbus.http_api.scopes import SCOPES
from fedbus.http_api.token_file import change_tokens
from fedbus.http_api.tokens import HttpToken, token_of
from fedbus.mqtt.mosquitto import free_port

TOKEN = token_of(b"t" * 32)
BLOCK = 1 << 20
COPY, READ = "a copy with fsync", "reading it"
WITH_DIGEST, WITHOUT_DIGEST = "upload, with its digest", "upload, without"
DOWNLOAD = "download"


def peak_mib(process: int) -> float:
    """Return the peak resident memory of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    line = next(each for each in lines if each.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def copy_seconds(source: Path, target: Path) -> float:
    """Copy a file and sync it; return the time."""
    began = time.perf_counter()
    with source.open("rb") as read, target.open("wb") as written:
        shutil.copyfileobj(read, written, BLOCK)
        written.flush()
        os.fsync(written.fileno())
    took = time.perf_counter() - began
    target.unlink()
    return took


def read_seconds(source: Path) -> float:
    """Read a file; return the time."""
    began = time.perf_counter()
    with source.open("rb") as file:
        while file.read(BLOCK):
            pass
    return time.perf_counter() - began


async def curl(*arguments: str) -> None:
    """Send a request with curl, which takes less of the machine than a client in Python."""
    line = ("curl", "-fsS", "-H", f"Authorization: Bearer {TOKEN}", "-H", "Expect:", *arguments)
    process = await asyncio.create_subprocess_exec(*line)
    assert await process.wait() == 0


async def timed(call: Callable[[], Awaitable[None]]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


async def until_served(session: ClientSession, url: str) -> None:
    """Wait until the API answers."""
    async with asyncio.timeout(30):
        while True:
            try:
                async with session.get(f"{url}/strategy"):
                    return
            except ClientError:
                await asyncio.sleep(0.1)


async def measure(folder: Path, mib: int, repeat: int) -> None:
    """Measure and print."""
    file = folder / "file"
    with file.open("wb") as written:
        for _ in range(mib):
            written.write(os.urandom(BLOCK))
    print(f"{mib} MiB")
    tokens, port = folder / "tokens", free_port()
    entry = HttpToken.of("all", SCOPES, TOKEN)
    change_tokens(tokens, lambda _: (entry,))
    environ = {
        **os.environ,
        "FEDBUS_BROKER": f"mqtt://127.0.0.1:{free_port()}",
        "FEDBUS_DATA": str(folder / "data"),
        "FEDBUS_HTTP": f"127.0.0.1:{port}",
        "FEDBUS_HTTP_TOKENS_FILE": str(tokens),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fedbus_repository"),
        env=environ,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
            await until_served(session, url)
            await compare(session, f"{url}/strategy", file, process.pid, repeat)
    finally:
        process.terminate()
        await process.wait()


async def compare(session: ClientSession, url: str, file: Path, process: int, repeat: int) -> None:
    """Upload and download the file in each way."""
    idle = peak_mib(process)
    with file.open("rb") as opened:
        digest = {"Fedbus-Digest": digest_of_file(opened.fileno())}

    async def upload(name: str, headers: dict[str, str]) -> None:
        async with session.post(url, json={"strategy_name": name}) as answer:
            assert answer.status == 201
        more = [part for key, value in headers.items() for part in ("-H", f"{key}: {value}")]
        await curl("-T", str(file), *more, f"{url}/{name}")

    async def delete(name: str) -> None:
        async with session.delete(f"{url}/{name}") as answer:
            assert answer.status == 204

    async def download(name: str) -> None:
        await curl("-o", os.devnull, f"{url}/{name}")

    times: dict[str, list[float]] = {}
    for _ in range(repeat):
        times.setdefault(COPY, []).append(copy_seconds(file, file.with_suffix(".copy")))
        for what, headers in ((WITH_DIGEST, digest), (WITHOUT_DIGEST, {})):
            times.setdefault(what, []).append(await timed(partial(upload, "a", headers)))
            if what == WITH_DIGEST:
                await delete("a")
        times.setdefault(READ, []).append(read_seconds(file))
        times.setdefault(DOWNLOAD, []).append(await timed(partial(download, "a")))
        await delete("a")
    risen = peak_mib(process) - idle
    print(f"medians of {repeat}; idle {idle:.0f} MiB, at most + {risen:.0f} MiB")
    for what, compared in (
        (WITH_DIGEST, COPY),
        (WITHOUT_DIGEST, COPY),
        (DOWNLOAD, READ),
    ):
        ratios = sorted(of / took for of, took in zip(times[compared], times[what], strict=True))
        print(
            f"{what:24} {median(times[what]):6.2f} s  {median(ratios):4.2f} x {compared}"
            f" ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


def main() -> None:
    """Run the benchmark in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedbus-http-") as name:
        asyncio.run(measure(Path(name), given.mib, given.repeat))


if __name__ == "__main__":
    main()
