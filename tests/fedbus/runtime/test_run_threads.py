"""The threads that perform a core's runs."""

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fedbus.core.keys import Key
from fedbus.runtime.run_threads import RunThreads

if TYPE_CHECKING:
    from concurrent.futures import Future


def test_a_call_apart_that_hangs_keeps_no_other_from_running() -> None:
    """Of one thread for all others, however many hang; errors are reported as well."""
    release = threading.Event()

    def fail() -> None:
        raise ValueError("apart")

    async def run() -> list[Any]:
        found: asyncio.Queue[Future[Any]] = asyncio.Queue()
        threads = RunThreads(1, lambda _, done: found.put_nowait(done))
        for _ in range(3):
            threads.start(Key(), release.wait, apart=True)
        threads.start(Key(), lambda: "pooled")
        first = await asyncio.wait_for(found.get(), 10)
        threads.start(Key(), fail, apart=True)
        second = await asyncio.wait_for(found.get(), 10)
        release.set()
        threads.close()
        assert await threads.wait()
        return [first.result(), second.exception()]

    pooled, error = asyncio.run(run())
    assert pooled == "pooled"
    with pytest.raises(ValueError, match="apart"):
        raise error
