"""A file by which a container without HTTP doors is seen to be well."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from fedbus.runtime.health_file import keep_health_file

BEAT = 0.01
LONG = 5.0


async def _until(what: Any) -> None:  # noqa: ANN401 - any callable
    async with asyncio.timeout(LONG):
        while not what():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(BEAT)


def _touched(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a pulse is seen."""
    return tmp_path / "healthy"


async def test_a_connected_service_touches_its_file_again_and_again(file: Path) -> None:
    """And takes it away when it ends."""
    pulse = asyncio.create_task(keep_health_file(SimpleNamespace(healthy=True), file, BEAT))  # type: ignore[arg-type]
    await _until(lambda: _touched(file))
    first = _touched(file)
    await _until(lambda: _touched(file) > first)
    pulse.cancel()
    await asyncio.gather(pulse, return_exceptions=True)
    assert not _touched(file)


async def test_an_unconnected_service_touches_nothing(file: Path) -> None:
    """Its file appears with the connection."""
    shell = SimpleNamespace(healthy=False)
    pulse = asyncio.create_task(keep_health_file(shell, file, BEAT))  # type: ignore[arg-type]
    await asyncio.sleep(3 * BEAT)
    assert not _touched(file)
    shell.healthy = True
    await _until(lambda: _touched(file))
    pulse.cancel()


async def test_a_health_file_that_cannot_be_written_is_logged_only(tmp_path: Path) -> None:
    """The service goes on working; the container is taken for ill."""
    with capture_logs() as logs:
        pulse = asyncio.create_task(
            keep_health_file(SimpleNamespace(healthy=True), tmp_path / "no" / "where", BEAT)  # type: ignore[arg-type]
        )
        await _until(lambda: len(logs) > 1)
    assert not pulse.done()
    pulse.cancel()
    assert {entry["event"] for entry in logs} == {"health_file_failed"}


async def test_without_a_file_there_is_nothing_to_do() -> None:
    """The setting is empty by default."""
    await keep_health_file(SimpleNamespace(healthy=True), None, BEAT)  # type: ignore[arg-type]
