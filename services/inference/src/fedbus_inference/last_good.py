"""Last version of each model that answered, on disk for the next start.

The broker retains only the newest version. If that one is put aside after a restart, the service
loads the version in this file instead.
"""

from contextlib import suppress
from pathlib import Path

from fedbus.atomic_write import atomic_write
from fedbus.errors import WireError
from fedbus.wire import codec
from fedbus.wire.documents import ModelLatest


class LastGood:
    """One small file for each model; without a writable folder, nothing is stored. For threads."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def save(self, latest: ModelLatest) -> None:
        """Store that a version answers."""
        if self._folder is None:
            return
        path = self._folder / f"{latest.model}.json"
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, codec.to_json(latest), shared=True)

    def load(self, model: str) -> ModelLatest | None:
        """Return the last version of a model that answered; None if none is stored."""
        if self._folder is None:
            return None
        try:
            stored = (self._folder / f"{model}.json").read_bytes()
            latest = codec.from_json(ModelLatest, stored)
        except (OSError, WireError):
            return None
        return latest if latest.model == model else None
