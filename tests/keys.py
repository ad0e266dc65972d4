"""A correlation key for tests of nodes and transfers, which do not care what it names."""

from dataclasses import dataclass

from fedbus.core.keys import Key


@dataclass(frozen=True, slots=True)
class SampleKey(Key):
    """A key told from others by a word and a number."""

    word: str
    number: int = 0

    @property
    def name(self) -> str:
        """Return the word."""
        return self.word
