"""Files that only their owner can read: passwords, and what leads to them."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only its owner can read.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)
