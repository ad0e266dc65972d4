"""The data an agent trains on: batches that are counted and can be stopped, and what they hold."""

from typing import Any

from fedbus.data.dataset import SHUFFLED_BYTES, Batch, Change, Dataset, of, shuffled
from fedbus.data.format import Field, Format, format_of
from fedbus.data.loaders.npz_rows import npz

__all__ = [
    "SHUFFLED_BYTES",
    "Batch",
    "Change",
    "Dataset",
    "Field",
    "Format",
    "describe",
    "format_of",
    "npz",
    "of",
    "shuffled",
]


def describe(data: Dataset | str) -> dict[str, Any]:
    """Say what one row looks like, as aerOS writes it: `{"x": {"data_types": {…}}, "y": …}`.

    Reads the first batch only.

    Raises:
        TrainingError: there is no batch; or, given the path of a shard, see `npz`.
    """
    return format_of(npz(data) if isinstance(data, str) else data).plain()
