"""The digits model, its spec and a job for it: `digits.tflite`, `model.json`, `job.json`.

`examples/digits/build_model.py` writes the first two.
"""

from importlib.resources import files


def read(name: str) -> bytes:
    """Read one of the files, wherever the package is installed."""
    return files(__name__).joinpath(name).read_bytes()
