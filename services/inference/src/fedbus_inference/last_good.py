"""The last version of each model that answered here, kept for the next start of this service.

The broker retains the newest version only. If that one is put aside, a service that was restarted
answers with the one before.
"""

from contextlib import suppress
from pathlib import Path

from fedbus.atomic_write import atomic_write
from fedbus.errors import WireError
from fedbus.wire import codec
from fedbus.wire.documents import ModelLatest


class LastGood:
    """One small file for each model; called in threads.

    Args:
        folder: Where; None keeps nothing, as does a folder that cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def keep(self, latest: ModelLatest) -> None:
        """Note that a version answers."""
        if self._folder is None:
            return
        path = self._path(self._folder, latest.model)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, codec.to_json(latest), shared=True)

    def recall(self, model: str) -> ModelLatest | None:
        """Name the last version of a model that answered, if any did."""
        if self._folder is None:
            return None
        try:
            latest = codec.from_json(ModelLatest, self._path(self._folder, model).read_bytes())
        except (OSError, WireError):
            return None
        return latest if latest.model == model else None

    @staticmethod
    def _path(folder: Path, model: str) -> Path:
        return folder / f"{model}.json"
