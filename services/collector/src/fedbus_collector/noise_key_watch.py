"""The collectors' noise key: read at the start, at each private round, and now and then. Pure.

The file is read in a worker thread. What this node announces follows the file, so the controller
plans no round that needs noise while the key is missing, or differs from the other collectors'.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from fedbus.core.actions import Action, AnnounceNoiseKey, Note, Run, Trouble, WakeAt
from fedbus.core.keys import Key
from fedbus.errors import SettingsError
from fedbus.privacy.noise_key import NoiseKey, read_noise_key
from fedbus_collector.keys import NoiseKeyPoll

POLL_SECONDS: Final = 30.0
"""Time between two readings; a key that was put back is found within it."""
NO_KEY: Final = (
    "this collector has no noise key: set FEDBUS_NOISE_KEY to a file that all collectors have; make"
    " one with `fedbus privacy key FILE`"
)
_SHOWN_DIGITS: Final = 12


class NoiseKeyWatch:
    """The key's file, and the digest that this node announces.

    Attributes:
        path: The file; None if this collector draws no noise.
        digest: SHA-256 of the key that the file held last; None: it had none that can be used.
    """

    def __init__(self, path: Path | None = None, key: NoiseKey | None = None) -> None:
        self.path = path
        self.digest = None if key is None else key.digest

    def connected(self, now: float) -> Iterator[Action]:
        """Announce the key that was read at the start or later."""
        yield AnnounceNoiseKey(self.digest)
        yield from self.poll_later(now)

    def poll_later(self, now: float) -> Iterator[Action]:
        """Wake to read the file again."""
        if self.path is not None:
            yield WakeAt(NoiseKeyPoll(), now + POLL_SECONDS)

    def read(self, key: Key) -> Run:
        """Have a worker thread read the file; raise SettingsError if this collector has none."""
        if self.path is None:
            raise SettingsError(NO_KEY)
        return Run(key, partial(read_noise_key, self.path))

    def found(self, key: NoiseKey) -> Iterator[Action]:
        """Announce the key that the file holds, if it is another than before."""
        if key.digest == self.digest:
            return
        was_missing, self.digest = self.digest is None, key.digest
        yield Note("noise_key_changed", {"digest": key.digest})
        yield AnnounceNoiseKey(self.digest)
        if was_missing:
            yield Trouble("")

    def missed(self, error: Exception) -> Iterator[Action]:
        """Announce that there is no key, unless that is known."""
        if self.digest is not None:
            self.digest = None
            yield Note("noise_key_unusable", {"reason": str(error)})
            yield Trouble(str(error))  # first: who sees that the key is gone can see why
            yield AnnounceNoiseKey(None)

    def fault(self, key: NoiseKey, planned: str) -> str:
        """Return why the key in the file cannot be used for a plan, or ""; ask before `found`."""
        if key.digest == planned:
            return ""
        held, wanted = key.digest[:_SHOWN_DIGITS], planned[:_SHOWN_DIGITS]
        if key.digest != self.digest:
            said = f"the file has changed: it holds key {held} now, the plan's is {wanted}"
        else:
            said = f"the file holds key {held}, the plan's is {wanted}"
        return f"noise key {self.path}: {said}; put the same file on all collectors"
