"""Threads that perform the runs of a core."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, TypeVar

from fedbus.core.keys import Key

T = TypeVar("T")

READING_THREADS = 4
"""Threads that read blobs; they are started when the first one is needed."""
LAST_RUNS_SECONDS = 4.0
"""Time that a stopping process waits for threads whose cancellation flag is set."""


class RunThreads:
    """A pool of threads; `ran` is called in the event loop with each run's key and result."""

    def __init__(self, threads: int, ran: Callable[[Key, "Future[Any]"], None]) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="work")
        self._readers = ThreadPoolExecutor(READING_THREADS, thread_name_prefix="read")
        self._ran = ran
        self._running: set[Future[Any]] = set()

    def start(
        self, key: Key, call: Callable[[], Any], *, reads: bool = False, apart: bool = False
    ) -> None:
        """Call in a thread; with `reads`, in one that reads blobs, `apart`, in one of its own."""
        loop = asyncio.get_running_loop()
        if apart:
            running = _start_thread(call)
        else:
            running = (self._readers if reads else self._pool).submit(call)
        self._running.add(running)
        running.add_done_callback(partial(self._report, loop, key))

    def read(self, call: Callable[[], T], done: Callable[["Future[T]"], None]) -> None:
        """Call in a thread that reads blobs; `done` is called in the event loop."""
        loop = asyncio.get_running_loop()
        reading = self._readers.submit(call)
        self._running.add(reading)

        def report(ended: "Future[T]") -> None:
            self._running.discard(ended)
            with suppress(RuntimeError):  # the event loop is closed: the process has stopped
                loop.call_soon_threadsafe(done, ended)

        reading.add_done_callback(report)

    def close(self) -> None:
        """Accept no more runs, and cancel those that have not started."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def wait(self) -> bool:
        """Wait, after `close`, for running threads; return whether all have ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_RUNS_SECONDS):
                while self._running:  # noqa: ASYNC110 - for 4 s, once
                    await asyncio.sleep(0.005)
        return not self._running

    def _report(self, loop: asyncio.AbstractEventLoop, key: Key, done: "Future[Any]") -> None:
        self._running.discard(done)
        with suppress(RuntimeError):  # the event loop is closed: the process has stopped
            loop.call_soon_threadsafe(self._ran, key, done)

    def run_now(self, key: Key, call: Callable[[], Any]) -> None:
        """Call in the event loop, and report it as a thread's."""
        done: Future[Any] = Future()
        try:
            done.set_result(call())
        except Exception as error:  # noqa: BLE001 - `ran` handles it, as it does a thread's
            done.set_exception(error)
        self._ran(key, done)


def _start_thread(call: Callable[[], T]) -> "Future[T]":
    """Call in a new thread, which does not keep the process from ending."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 - as a pool's thread does
            done.set_exception(error)

    Thread(target=run, name="apart", daemon=True).start()
    return done
