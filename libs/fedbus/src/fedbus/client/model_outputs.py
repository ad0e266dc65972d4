"""What a pushed model answers: what a person says of it, its spec, or what it shows itself."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbus.errors import SettingsError
from fedbus.frameworks.exported import OutputFacts
from fedbus.frameworks.outputs import MEANINGS, check_answers, check_classes
from fedbus.limits import MAX_WORD_CHARACTERS
from fedbus.wire.documents import ModelSpec

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a person says of a model: `--answers` and `--classes`."""

    answers: str | None = None
    classes: tuple[str, ...] = ()


SAYS_NOTHING = Stated()


def row_of(stated: object) -> tuple[int, ...] | None:
    """Read the shape of a row from a spec's `input`; None where it does not say."""
    match stated:
        case {"shape": list(size)} | {"data_types": {"image": {"size": list(size)}}}:
            pass
        case {"data_types": {"numerical": {"size": list(size)}}}:
            pass
        case {"data_types": {"categorical": {"size": list(size)}}}:
            pass
        case _:
            return None
    return tuple(size) if all(type(n) is int and n > 0 for n in size) else None


def settle(spec: dict[str, Any], seen: OutputFacts, said: Stated) -> None:
    """Put what the model answers and its classes' names into its spec.

    A person's word goes before the spec's, the spec's before what was seen. An architecture that
    says
    `answers` itself speaks for the spec.

    Raises:
        SettingsError: the words do not fit the model.
    """
    of_architectures = [
        architecture.pop("answers")
        for architecture in spec["architectures"].values()
        if "answers" in architecture
    ]
    if said.answers is not None:
        spec["answers"] = check_answers(said.answers, seen.output)
    elif spec.get("answers") is None:
        spec["answers"] = of_architectures[0] if of_architectures else seen.answers
    if said.classes:
        spec["classes"] = list(said.classes)
    if classes := spec.get("classes"):
        check_classes(spec["answers"], list(map(str, classes)), seen.output)


def same_outputs(spec: ModelSpec, before: ModelSpec) -> bool:
    """Tell whether names of an earlier version's outputs go with those of this one as well."""
    return (spec.answers, spec.layout) == (before.answers, before.layout)


def read_classes(said: str | None) -> tuple[str, ...]:
    """Read the names of classes: `cat,dog`, or a file with one name a line.

    Raises:
        SettingsError: a name is empty or too long, or the file cannot be read.
    """
    if said is None:
        return ()
    path = Path(said)
    try:
        # Many names are longer than the name of a file may be, of which os.path says no.
        is_file = os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises
        named = path.read_text("utf-8").splitlines() if is_file else said.split(",")
    except (OSError, ValueError) as error:
        raise SettingsError(f"--classes: {said}: {error}") from error
    names = tuple(name.strip() for name in named)
    while names and not names[-1]:  # a file ends in an empty line, perhaps
        names = names[:-1]
    for number, name in enumerate(names, 1):
        if not name or len(name) > MAX_WORD_CHARACTERS:
            length = f"{len(name)} characters long" if name else "empty"
            raise SettingsError(
                f"--classes: name {number} is {length}; names of 1 to {MAX_WORD_CHARACTERS} "
                "characters, with commas between them or one a line in a file"
            )
    if not names:
        raise SettingsError("--classes: no name in it")
    return names


def names_of(spec: ModelSpec) -> str:
    """Say what a model's classes are called, the first ten of them."""
    more = len(spec.classes) - _SHOWN
    return ", ".join(spec.classes[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def sentence_of(spec: ModelSpec, *, derived: bool = False) -> str:
    """Say what a model answers: `classes: cat, dog`."""
    said: str = spec.answers or "as its framework does; --answers says what that means"
    if spec.classes:
        said = f"{said}: {names_of(spec)}"
    if derived and spec.answers is not None:
        said += f" ({MEANINGS[spec.answers]}; --answers says otherwise)"
    return said
