"""Options of a model on the command line: `--config`, `--input`, `--classes`."""

import json
import os
from pathlib import Path
from typing import Any

from fedbus.errors import SettingsError
from fedbus.limits import MAX_DIMENSIONS, MAX_WORD_CHARACTERS


def read_config(said: str | None) -> dict[str, Any] | None:
    """Read the JSON object with which a factory is called; None where there is none.

    Raises:
        SettingsError: the text is not a JSON object.
    """
    if said is None:
        return None
    try:
        config = json.loads(said)
    except ValueError as error:
        raise SettingsError(f"--config: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise SettingsError(f"--config: {type(config).__name__}, not an object")
    return config


def read_shape(said: str | None) -> tuple[int, ...] | None:
    """Read the shape of a row, `28,28,1`; None where there is none.

    Raises:
        SettingsError: the text is no shape.
    """
    if said is None:
        return None
    sizes = [size.strip() for size in said.split(",")]
    if len(sizes) > MAX_DIMENSIONS or not all(size.isdecimal() and int(size) for size in sizes):
        raise SettingsError(f"--input: {said!r}; a row's shape is written 64, or 28,28,1")
    return tuple(map(int, sizes))


def read_classes(said: str | None) -> tuple[str, ...]:
    """Read names of classes: `cat,dog`, or the path of a file with one name a line.

    Raises:
        SettingsError: a name is empty or too long, or the file cannot be read.
    """
    if said is None:
        return ()
    path = Path(said)
    try:
        # Names may be longer than a path may be, for which Path.is_file raises.
        is_file = os.path.isfile(path)  # noqa: PTH113 - see above
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
