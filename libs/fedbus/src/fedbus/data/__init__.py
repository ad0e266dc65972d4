"""Data of agents: data sets in batches, and their formats."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fedbus.data.dataset import (
    SHUFFLE_BUFFER_BYTES,
    Batch,
    BatchTransform,
    Dataset,
    from_arrays,
    shuffled,
)
from fedbus.data.format import Field, Format, format_of

if TYPE_CHECKING:
    from fedbus.data.loaders.npz_rows import npz

__all__ = [
    "SHUFFLE_BUFFER_BYTES",
    "Batch",
    "BatchTransform",
    "Dataset",
    "Field",
    "Format",
    "describe",
    "format_of",
    "from_arrays",
    "npz",
    "shuffled",
]


def describe(data: Dataset | str) -> dict[str, Any]:
    """Return the format of a row in aerOS's notation: `{"x": {"data_types": {…}}, "y": …}`.

    Only the first batch is read. `data` may be the path of an .npz file.

    Raises:
        TrainingError: there are no rows; for a path, see `npz`.
    """
    if isinstance(data, str):
        from fedbus.data.loaders.npz_rows import npz  # noqa: PLC0415 - as in __getattr__

        return format_of(npz(data)).plain()
    return format_of(data).plain()


def __getattr__(name: str) -> object:
    if name != "npz":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # With zipfile and what reads archives, which no service needs for predictions.
    return import_module("fedbus.data.loaders.npz_rows").npz
