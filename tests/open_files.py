"""Count of this process's open files in a folder, for tests that look for leaks."""

import os
from pathlib import Path


def open_files_in(folder: Path) -> int:
    """Count open files below a folder, deleted ones as well; other threads use other folders."""
    links = Path("/proc/self/fd").iterdir()
    return sum(os.path.realpath(link).startswith(f"{folder}/") for link in links)
