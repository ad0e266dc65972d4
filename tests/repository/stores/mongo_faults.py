"""MongoDB stores for tests: opened on a server, failing at a chosen write, or killed there."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fedbus.errors import StoreError
from fedbus_repository.stores.files import BlobFolder
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.mongo_store import MongoStore
from tests.repository.harness import AT

OWNER_SECONDS = 0.2


class KilledError(BaseException):
    """The process was killed with -9 in a step: nothing of it runs any more."""


class WriteFault:
    """Raises an error at a step, after some others went well.

    Attributes:
        step: "write" (before a write reaches the database), "written" (its answer is lost), or "":
            no step.
        left: How many of these steps go well.
    """

    def __init__(self, error: type[BaseException] = StoreError) -> None:
        self.step, self.left = "", 0
        self._error = error

    def __call__(self, step: str) -> None:
        """Take a step."""
        if step == self.step:
            self.left -= 1
            if self.left < 0:
                self.step = ""
                raise self._error(f"a fault at the step {step!r}")


def open_store(
    url: str, folder: Path, *, on_step: Callable[[str], None] = lambda _: None, keep: int = 3
) -> MongoStore:
    """Open a store whose jobs and versions are the same in each test."""
    return MongoStore(
        MongoSettings(url),
        lambda _: BlobFolder(folder, durable=False),
        keep=keep,
        on_step=on_step,
        secret=lambda: b"secret",
        now=lambda: AT,
        owner_seconds=OWNER_SECONDS,
    )


def kill(store: MongoStore) -> None:
    """End what a killed process would not do any more; its owner document stays."""
    owner = store._database._owner  # type: ignore[attr-defined]  # noqa: SLF001 - of its dead process
    owner._released.set()  # noqa: SLF001
    owner._thread.join()  # noqa: SLF001
    with suppress(StoreError):
        store._connection.close()  # noqa: SLF001
