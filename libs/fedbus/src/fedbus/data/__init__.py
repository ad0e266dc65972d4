"""Data of agents: data sets in batches, and their formats."""

from typing import Any

from fedbus.data.dataset import (
    SHUFFLE_BUFFER_BYTES,
    Batch,
    BatchTransform,
    Dataset,
    from_arrays,
    shuffled,
)
from fedbus.data.format import Field, Format, format_of
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
    return format_of(npz(data) if isinstance(data, str) else data).plain()
