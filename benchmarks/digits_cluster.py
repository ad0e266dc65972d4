"""Cluster of processes for benchmarks, started by `fedbus up`: agents that train on the digits."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fedbus.cluster import registry
from fedbus.cluster.registry import RunningCluster
from fedbus.encryption.key_files import generate_key_files
from fedbus.encryption.parameters import EncryptionParameters

START_SECONDS: Final = 180.0
STOP_SECONDS: Final = 60.0


@contextmanager
def digits_cluster(
    agents: int, framework: str, *options: str, keys: EncryptionParameters | None = None
) -> Iterator[RunningCluster]:
    """Run a cluster in this block.

    Args:
        agents: Agents that train; one evaluates.
        framework: What they train with.
        options: Further options of `fedbus up`.
        keys: What the keys of encrypted jobs are made with; None: there are no keys.
    """
    with TemporaryDirectory(prefix="fedbus-bench-") as folder:
        home, log = Path(folder) / "home", Path(folder) / "log"
        if keys is not None:
            generate_key_files(home / "keys", keys)
        line = [sys.executable, "-m", "fedbus.cli", "--cluster", str(home), "up", *options]
        environ = {**os.environ, "XDG_STATE_HOME": folder}
        with log.open("wb") as words:
            process = subprocess.Popen(
                [*line, "--agents", str(agents), "--framework", framework],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                env=environ,
            )
        try:
            _wait_for(process, log)
            found = registry.read(home)
            assert found is not None
            yield found
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def _wait_for(process: "subprocess.Popen[bytes]", log: Path) -> None:
    by = time.monotonic() + START_SECONDS
    while "Ctrl-C ends it." not in (said := log.read_text(encoding="utf-8")):
        if process.poll() is not None or time.monotonic() > by:
            sys.exit(f"`fedbus up` did not start:\n{said}")
        time.sleep(0.2)
