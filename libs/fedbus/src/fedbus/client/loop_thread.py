"""Event loop in a thread, for callers without one."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

STOP_SECONDS = 5.0
"""How long the thread, or a cancelled call, may take to end."""

R = TypeVar("R")


class LoopThread:
    """An event loop in a daemon thread; other threads run coroutines in it and wait for them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="fedbus client", daemon=True
        )
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._loop.is_closed()

    def stop(self) -> None:
        """End the thread."""
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def run(self, call: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine, and return its result.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed. The coroutine is cancelled, and has ended.
        """
        running = _Running(call)
        try:
            self._loop.call_soon_threadsafe(running.start)
            return running.outcome.result()
        except BaseException:
            if not running.outcome.done():
                self._loop.call_soon_threadsafe(running.cancel)
                running.ended.wait(STOP_SECONDS)
            raise

    def iterate(self, items: AsyncGenerator[R, None]) -> Iterator[R]:
        """Yield the items of an asynchronous generator, and close it when the caller stops."""
        try:
            while (item := self.run(_next(items))) is not None:
                yield item
        finally:
            if not self.stopped:
                self.run(_close(items))


class _Running(Generic[R]):
    """A coroutine in the loop's thread, and its outcome for the thread that waits."""

    def __init__(self, call: Coroutine[Any, Any, R]) -> None:
        self.outcome: Future[R] = Future()
        self.ended = threading.Event()
        self._call = call
        self._task: asyncio.Task[R] | None = None

    def start(self) -> None:
        """Begin, in the loop's thread."""
        self._task = asyncio.get_running_loop().create_task(self._call, name="fedbus call")
        self._task.add_done_callback(self._end)

    def cancel(self) -> None:
        """Cancel it, in the loop's thread; Ctrl-C may have come before `start` was called."""
        if self._task is None:
            self._call.close()
            self.ended.set()
        else:
            self._task.cancel()

    def _end(self, task: "asyncio.Task[R]") -> None:
        if task.cancelled():
            self.outcome.cancel()
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())
        self.ended.set()


async def _next(items: AsyncGenerator[R, None]) -> R | None:
    return await anext(items, None)


async def _close(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()
