"""Model files of the tests, made by `make_model_files.py`."""

from pathlib import Path

FOLDER = Path(__file__).parent / "model_files"


def model_file(name: str) -> bytes:
    """Read a file."""
    return (FOLDER / name).read_bytes()
