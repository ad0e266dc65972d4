"""Weights in files of any format that holds nothing but numbers: .npz and .safetensors."""

from pathlib import Path
from typing import Final
from zipfile import is_zipfile

from fedbus.errors import LayoutError
from fedbus.model import safetensors
from fedbus.model.layout import Array
from fedbus.model.npz import NPY_MAGIC, ZIP_MAGIC, read_npz

EXPECTED: Final = (
    "an .npz file of named arrays, or a .safetensors file, as `models pull` writes them"
)
_READERS: Final = {
    ".pt": "net.load_state_dict(torch.load(FILE, weights_only=True))",
    ".pth": "net.load_state_dict(torch.load(FILE, weights_only=True))",
    ".keras": "model.load_weights(FILE)",
    ".h5": "model.load_weights(FILE)",
}
"""How to read the frameworks' own files, by suffix; such files may hold code."""


def read_weights(path: str | Path) -> dict[str, Array]:
    """Read named arrays; the format is recognized by the content, not by the name.

    Raises:
        LayoutError: The file is missing, or of another format.
    """
    path = Path(path)
    try:
        return _read(path)
    except OSError as error:
        raise LayoutError(f"{path}: {error.strerror or error}") from error
    except (LayoutError, ValueError) as error:
        raise LayoutError(f"{path}: not {EXPECTED}: {error}") from error


def _read(path: Path) -> dict[str, Array]:
    if path.suffix in _READERS:
        raise LayoutError(f"{_READERS[path.suffix]} reads it")
    if is_zipfile(path):
        return read_npz(path)
    data = path.read_bytes()
    if data.startswith(ZIP_MAGIC):
        raise LayoutError("a truncated .npz file: it begins as one, and its end is missing")
    if data.startswith(NPY_MAGIC):
        raise LayoutError("but one bare array")
    return safetensors.unpack(data)
