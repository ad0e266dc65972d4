"""A model's weights in a file: read in the formats that hold nothing but numbers."""

from pathlib import Path
from typing import Final
from zipfile import is_zipfile

from fedbus.errors import LayoutError
from fedbus.model import safetensors
from fedbus.model.layout import Array
from fedbus.model.npz import NPY_MAGIC, ZIP_MAGIC, read_npz

WANTED: Final = "an .npz file of named arrays, or a .safetensors file, as `models pull` writes them"
_ELSEWHERE: Final = {
    ".pt": "net.load_state_dict(torch.load(FILE, weights_only=True))",
    ".pth": "net.load_state_dict(torch.load(FILE, weights_only=True))",
    ".keras": "model.load_weights(FILE)",
    ".h5": "model.load_weights(FILE)",
}
"""What reads a framework's own files; they may hold code."""


def read_weights(path: str | Path) -> dict[str, Array]:
    """Read named arrays; what the file is called does not matter.

    Raises:
        LayoutError: it is missing, or something else than named arrays.
    """
    path = Path(path)
    try:
        return _read(path)
    except OSError as error:
        raise LayoutError(f"{path}: {error.strerror or error}") from error
    except (LayoutError, ValueError) as error:
        raise LayoutError(f"{path}: not {WANTED}: {error}") from error


def _read(path: Path) -> dict[str, Array]:
    if path.suffix in _ELSEWHERE:
        raise LayoutError(f"{_ELSEWHERE[path.suffix]} reads it")
    if is_zipfile(path):
        return read_npz(path)
    data = path.read_bytes()
    if data.startswith(ZIP_MAGIC):
        raise LayoutError("a truncated .npz file: it begins as one, and its end is missing")
    if data.startswith(NPY_MAGIC):
        raise LayoutError("but one bare array")
    return safetensors.unpack(data)
