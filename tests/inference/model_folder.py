"""Folder of models of the service alone that the tests of one process share (`conftest.py`)."""

import json
import shutil
from pathlib import Path

import numpy as np

import fedbus

DEMO = Path(str(fedbus.__file__)).parent / "demo_data"
FILES = Path(__file__).parents[1] / "fedbus/frameworks/model_files"
MAX_REQUEST_MB = 2
"""Small, so that a request above it is quickly made."""


class ModelFolder:
    """A folder of models, which is made with digits, version 1."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write_version("digits", 1)

    def copy_files(self, *names: str) -> None:
        """Copy files that are whole models, as plain.tflite, among those of the tests."""
        for name in names:
            shutil.copy(FILES / name, self.path / name)

    def write_version(self, model: str, version: int, *, scale: float | None = None) -> Path:
        """Write a version of digits, with weights that are all `scale`, as a copy that is whole."""
        made = self.path / model / f".{version}"
        made.mkdir(parents=True)
        for name in ("model.json", "digits.tflite"):
            shutil.copy(DEMO / name, made / name)
        if scale is not None:
            layout = json.loads((made / "model.json").read_bytes())["layout"]
            np.savez(
                made / "weights.npz",
                **{each["name"]: np.full(each["shape"], scale, "f4") for each in layout},
            )
        return made.rename(made.with_name(str(version)))
