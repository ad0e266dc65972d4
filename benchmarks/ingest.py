"""Ingest of a large blob by the repository's store, against a plain file copy with fsync.

    python -m benchmarks.ingest [--mib 1024] [--chunk-kib 256] [--mongo-mib 64] [--json FILE]

One process opens a store and writes a blob to it as a commit or a push does: space is reserved, the
chunks of the bus are written in their order and hashed while they arrive, the file is synced,
verified and renamed, and its folder is synced. The source is in the page cache for both. In turn,
the same file is copied with fsync; the ratio is that of the medians. The memory is the peak of the
process (VmHWM) over its resident memory with an idle store. MongoDB's figures are those of the
test server, which is written in Python.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import MB, MIB, middle, peak_mb, publish
from benchmarks.mongo_server import mongo_server
from fedbus.digest import digest_of_file
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.opening import database_of, open_store

COPY_BYTES = MIB


def main() -> None:
    """Measure both stores and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mib", type=int, default=1024, help="size of the blob")
    parser.add_argument("--chunk-kib", type=int, default=256, help="bytes of a write")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--mongo-mib", type=int, default=64, help="0: without MongoDB")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder")
    parser.add_argument("--json", metavar="FILE", help="write all figures there; `-`: print them")
    options = parser.parse_args()
    rows = [measured("folder", options.mib, options)]
    if options.mongo_mib:
        with mongo_server() as url:
            row = measured("MongoDB test server", options.mongo_mib, options, f"{url}/ingest")
            rows.append(row)
    publish({"rows": rows}, rows, options.json)


def measured(name: str, mib: int, options: argparse.Namespace, url: str = "") -> dict[str, Any]:
    """Copy and ingest a file in turn, each ingest in a process of its own."""
    copied, ingested, memory = [], [], 0.0
    with TemporaryDirectory(prefix="fedbus-ingest-", dir=options.folder) as place:
        folder = Path(place)
        source = folder / "source"
        with source.open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(MIB))
            file.flush()
            os.fsync(file.fileno())
        with source.open("rb") as file:
            blob = BlobRef(digest=digest_of_file(file.fileno()), size=mib * MIB)
        for number in range(options.repetitions):
            copied.append(copy_seconds(source, folder / "copy"))
            data = folder / f"data-{number}"
            seconds, used = in_process(source, blob, data, url and f"{url}-{number}", options)
            ingested.append(seconds)
            memory = max(memory, used)
            shutil.rmtree(data)
    return {
        "store": name,
        "MiB": mib,
        "copy_s": middle(copied, 2),
        "ingest_s": middle(ingested, 2),
        "ingest_mb_s": round(mib * MIB / MB / middle(ingested), 1),
        "of_copy": round(middle(copied) / middle(ingested), 2),
        "memory_above_idle_mb": memory,
    }


def copy_seconds(source: Path, target: Path) -> float:
    """Copy a file by reading and writing, sync it and its folder; return the time."""
    began = time.perf_counter()
    with source.open("rb") as read, target.open("wb") as written:
        while block := read.read(COPY_BYTES):
            written.write(block)
        written.flush()
        os.fsync(written.fileno())
    folder = os.open(target.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    took = time.perf_counter() - began
    target.unlink()
    return took


def in_process(
    source: Path, blob: BlobRef, data: Path, url: str, options: argparse.Namespace
) -> tuple[float, float]:
    """Ingest in a new process; return seconds, and megabytes above its idle memory."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=ingest, args=(theirs, source, blob, data, url, options.chunk_kib * 1024)
    )
    process.start()
    theirs.close()
    try:
        found: tuple[float, float] = ours.recv()
    except EOFError:
        sys.exit("the process of the store has failed")
    process.join()
    return found


def ingest(out: Any, source: Path, blob: BlobRef, data: Path, url: str, chunk: int) -> None:  # noqa: ANN401, PLR0913, PLR0917 - a pipe; all that a process needs
    """Write a blob to a store, and send the seconds and the memory above idle."""
    store = open_store(data, database_of(url))
    warm_up(store)
    idle = resident_mb()
    with source.open("rb", buffering=0) as file:
        began = time.perf_counter()
        upload = store.upload(blob)
        for offset in range(0, blob.size, chunk):
            upload.write(offset, file.read(chunk))
        upload.keep()
        took = time.perf_counter() - began
    assert store.open_blob(blob.digest) is not None
    out.send((took, round(peak_mb(os.getpid()) - idle, 1)))
    store.close()


def warm_up(store: Store) -> None:
    """Keep a small blob, so that threads and modules are not counted."""
    content = bytes(2 * MIB)
    upload = store.upload(blob_ref_of(content))
    upload.write(0, content)
    upload.keep()


def resident_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


if __name__ == "__main__":
    main()
