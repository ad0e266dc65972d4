"""Health file, whose modification time shows a container that its service is healthy."""

import asyncio
from contextlib import suppress
from pathlib import Path

from fedbus.runtime.shell import Shell
from fedbus.runtime.small_structlog import structlog

log = structlog.get_logger()

UNHEALTHY_POLL_SECONDS = 0.2


async def keep_health_file(shell: Shell, file: Path | None, seconds: float) -> None:
    """Touch a file every heartbeat while the shell is healthy, for a container's health check.

    The file's modification time stops advancing while the node is disconnected, the broker drops
    its messages or the event loop hangs; the file is deleted when the service ends.
    """
    if file is None:
        return
    try:
        while True:
            if shell.healthy:
                _touch(file)
            await asyncio.sleep(seconds if shell.healthy else UNHEALTHY_POLL_SECONDS)
    finally:
        _remove(file)


def _touch(file: Path) -> None:
    try:
        file.touch()
    except OSError as error:  # the health check will fail; log the reason
        log.warning("health_file_failed", file=str(file), reason=error.strerror)


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink(missing_ok=True)
