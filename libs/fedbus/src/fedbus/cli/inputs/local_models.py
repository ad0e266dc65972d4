"""Models of files on this machine, which the inference service's package loads in this process."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from fedbus.errors import SettingsError
from fedbus.model.layout import Array
from fedbus.wire.documents import ModelSpec

GROUP = "fedbus.local_models"
"""Entry points of packages that can load a model: a callable that is given its path."""


class LoadedModel(Protocol):
    """A model that answers in this process."""

    @property
    def spec(self) -> ModelSpec:
        """The model's spec."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of the model."""

    def answer(self, inputs: object) -> dict[str, Any]:
        """Return the answer to the `inputs` of a request, with lists for arrays."""


def load_local_model(path: Path) -> LoadedModel:
    """Load a model of a file or folder.

    Raises:
        SettingsError: there is no such file, or the inference service's package is not installed.
        FedbusError: the model is damaged, or no framework here runs it.
    """
    if not path.exists():
        raise SettingsError(f"--local: there is no file or folder {path}")
    for entry in entry_points(group=GROUP):
        return cast("LoadedModel", entry.load()(path))
    raise SettingsError(
        "--local needs the package fedbus-inference: pip install 'fedbus-inference[tflite]'"
    )


def raw_inputs(rows: Array | Mapping[str, Array]) -> dict[str, Any]:
    """Return an array, or arrays by name, as a request's `inputs`."""
    if isinstance(rows, Mapping):
        return {name: raw_inputs(each) for name, each in rows.items()}
    little = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<"))
    return {"dtype": rows.dtype.name, "shape": list(rows.shape), "data": little.tobytes()}
