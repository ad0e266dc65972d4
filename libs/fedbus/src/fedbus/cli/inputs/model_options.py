"""Options of a model on the command line: `--config`, `--input`, `--classes`."""

import json
import os
from pathlib import Path
from typing import Any

from fedbus.errors import SettingsError
from fedbus.limits import MAX_DIMENSIONS, MAX_WORD_CHARACTERS


def read_config(text: str | None) -> dict[str, Any] | None:
    """Parse the keyword arguments of a factory; None if the option is absent.

    Raises:
        SettingsError: the text is not a JSON object.
    """
    if text is None:
        return None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"--config: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise SettingsError(f"--config: expected a JSON object, got {type(config).__name__}")
    return config


def read_shape(text: str | None) -> tuple[int, ...] | None:
    """Parse the shape of a row, `28,28,1`; None if the option is absent.

    Raises:
        SettingsError: the text is not a shape.
    """
    if text is None:
        return None
    sizes = [size.strip() for size in text.split(",")]
    if len(sizes) > MAX_DIMENSIONS or not all(size.isdecimal() and int(size) for size in sizes):
        raise SettingsError(f"--input: expected the shape of a row, as 64 or 28,28,1, got {text!r}")
    return tuple(map(int, sizes))


def read_classes(text: str | None) -> tuple[str, ...]:
    """Read names of classes: `cat,dog`, or the path of a file with one name per line.

    Raises:
        SettingsError: a name is empty or too long, or the file cannot be read.
    """
    if text is None:
        return ()
    path = Path(text)
    try:
        # Path.is_file raises for names that are longer than a path may be.
        is_file = os.path.isfile(path)  # noqa: PTH113 - see above
        named = path.read_text("utf-8").splitlines() if is_file else text.split(",")
    except (OSError, ValueError) as error:
        raise SettingsError(f"--classes: {text}: {error}") from error
    names = tuple(name.strip() for name in named)
    while names and not names[-1]:  # a file may end in an empty line
        names = names[:-1]
    for number, name in enumerate(names, 1):
        if not name or len(name) > MAX_WORD_CHARACTERS:
            length = f"{len(name)} characters long" if name else "empty"
            raise SettingsError(
                f"--classes: name {number} is {length}; expected 1 to {MAX_WORD_CHARACTERS} "
                "characters, with commas between names or one name per line of a file"
            )
    if not names:
        raise SettingsError("--classes: expected at least one name, got none")
    return names
