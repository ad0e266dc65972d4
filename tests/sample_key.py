"""Correlation key for tests of nodes and transfers that need any key."""

from dataclasses import dataclass

from fedbus.core.keys import Key


@dataclass(frozen=True, slots=True)
class SampleKey(Key):
    """A key with a word and a number, by which it is compared."""

    word: str
    number: int = 0

    @property
    def name(self) -> str:
        """Return the word."""
        return self.word
