"""Vocabularies of table columns: words that are classes or one-hot inputs. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from fedbus.errors import TrainingError
from fedbus.text import in_given_order
from fedbus.wire.announced_names import MAX_NAME_CHARACTERS

AUTO: Final = "auto"
Words = Literal["auto"] | Mapping[str, Sequence[str] | Literal["auto"]] | None
"""Which columns hold words: `{"colour": ["blue", "red"]}`, or, with auto, those that are there."""

MAX_WORDS: Final = 1000
"""Maximum size of a vocabulary that the owner does not list."""
_ENOUGH_ROWS: Final = 20
"""Number of rows from which mostly different words are identifiers, not classes."""


def check_words(words: object, columns: Sequence[str]) -> dict[int, tuple[str, ...] | None]:
    """Read the option `words`: the vocabulary of each column; None: built from the data.

    With "auto" every column may hold words, and the result has every column.

    Raises:
        TrainingError: the option is malformed, or names an unknown column.
    """
    if words is None:
        return {}
    if words == AUTO:
        return dict.fromkeys(range(len(columns)))
    if not isinstance(words, Mapping):
        raise TrainingError(
            f'words is {words!r}; expected "auto" or {{"COLUMN": ["word", "word"]}}'
        )
    found: dict[int, tuple[str, ...] | None] = {}
    for column, vocabulary in words.items():
        if column not in columns:
            raise TrainingError(f"words: no column {column!r}; there are {in_given_order(columns)}")
        place = list(columns).index(column)
        found[place] = None if vocabulary == AUTO else check_names(f"words.{column}", vocabulary)
    return found


def check_names(where: str, names: object) -> tuple[str, ...]:
    """Read a list of names; the position of each is its number.

    Raises:
        TrainingError: the names are not different texts, or one is too long.
    """
    given = names if isinstance(names, list | tuple) else ()
    words = tuple(name for name in given if isinstance(name, str))
    if not words or len(set(words)) != len(given):
        raise TrainingError(f"{where} is {names!r}: expected a list of different names")
    if long := [word for word in words if len(word) > MAX_NAME_CHARACTERS]:
        raise TrainingError(
            f"{where}: {long[0][:40]!r} …: a name has at most {MAX_NAME_CHARACTERS} characters"
        )
    return words


@dataclass(slots=True)
class VocabularyBuilder:
    """Collects the different words of one column."""

    where: str
    words: set[str] = field(default_factory=set)

    def add(self, words: Iterable[str]) -> None:
        """Add words; raise TrainingError for too many different ones, or one too long."""
        for word in words:
            if word in self.words:
                continue
            if len(word) > MAX_NAME_CHARACTERS or len(self.words) >= MAX_WORDS:
                what = (
                    f"{word[:40]!r} …"
                    if len(word) > MAX_NAME_CHARACTERS
                    else f"more than {MAX_WORDS}"
                )
                raise TrainingError(
                    f"{self.where}: {what} different words: texts or identifiers, no classes; "
                    "name another column, or list the words"
                )
            self.words.add(word)

    def vocabulary(self, rows: int) -> tuple[str, ...]:
        """Return the sorted words; raise TrainingError if most rows have different words."""
        if rows >= _ENOUGH_ROWS and len(self.words) > rows / 2:
            raise TrainingError(
                f"{self.where}: {len(self.words)} different words in {rows} rows: identifiers, no "
                "classes; name another column, or list the words"
            )
        return tuple(sorted(self.words))
