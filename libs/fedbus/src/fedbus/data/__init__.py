"""The data an agent trains on: batches that are counted and can be stopped, and what they hold."""

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
    """Say what one row looks like, as aerOS writes it: `{"x": {"data_types": {…}}, "y": …}`.

    Reads the first batch only.

    Raises:
        TrainingError: there is no batch; or, given the path of a shard, see `npz`.
    """
    return format_of(npz(data) if isinstance(data, str) else data).plain()
