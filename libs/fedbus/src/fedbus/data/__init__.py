"""Data of agents: data sets in batches, and their formats."""

from typing import TYPE_CHECKING, Any, Final

from fedbus.data.dataset import (
    SHUFFLE_BUFFER_BYTES,
    Batch,
    BatchTransform,
    Dataset,
    from_arrays,
    shuffled,
)
from fedbus.data.format import Field, Format, format_of
from fedbus.lazy_names import names_on_first_use

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

_NAMES: Final = {"fedbus.data.loaders.npz_rows": ("npz",)}
"""With zipfile and what reads archives, which no service needs for predictions."""


def describe(data: Dataset | str) -> dict[str, Any]:
    """Return the format of a row in aerOS's notation: `{"x": {"data_types": {…}}, "y": …}`.

    Only the first batch is read. `data` may be the path of an .npz file.

    Raises:
        TrainingError: there are no rows; for a path, see `npz`.
    """
    if isinstance(data, str):
        from fedbus.data.loaders.npz_rows import npz  # noqa: PLC0415 - as in _NAMES

        return format_of(npz(data)).plain()
    return format_of(data).plain()


if not TYPE_CHECKING:
    __getattr__, __dir__ = names_on_first_use(globals(), _NAMES)
