"""Checks of what goes into a training and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedbus.digest import digest_of
from fedbus.errors import LayoutError, TrainingError, WireError
from fedbus.model.blob import check_update
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Weights
from fedbus.training.options import clip_fraction, impossible_metric
from fedbus.wire import codec
from fedbus.wire.announced_names import names_of
from fedbus.wire.blobs import BlobRef
from fedbus.wire.identifiers import Metrics


class NotFiniteError(TrainingError):
    """A training ended with a NaN or an infinity; the message names the tensor."""


@dataclass(frozen=True, slots=True)
class _MetricsMessage:
    """A message with metrics alone, to check them against the bounds of all messages."""

    metrics: Metrics


def checked_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Convert a trainer's metrics to those of a message.

    Raises:
        TrainingError: A value is not finite, a share is outside 0 to 1, a name is not valid, or
            there are too many.
    """
    try:
        values = {str(name): float(value) for name, value in metrics.items()}
        codec.unpack(_MetricsMessage, codec.pack(_MetricsMessage(values)))
    except (TypeError, ValueError, WireError) as error:
        raise TrainingError(f"the trainer's metrics: {error}") from error
    if fault := impossible_metric(values):
        raise TrainingError(f"the trainer's metrics: {fault}")
    return {name: clip_fraction(name, value) for name, value in values.items()}


def check_finite(weights: Weights) -> None:
    """Raise NotFiniteError for a NaN or an infinity, naming the first tensor that has one."""
    for name, array in weights.items():
        try:
            check_update(array.reshape(-1))
        except LayoutError as error:
            raise NotFiniteError(
                f"{name!r} is not finite after training ({error}); a lower learning_rate may help"
            ) from error


def check_classes(data: Sequence[str], model: Sequence[str]) -> None:
    """Raise TrainingError if the data's classes differ from a model's in names or order."""
    if data and model and tuple(data) != tuple(model):
        raise TrainingError(
            f"the classes of the data are {names_of(data)}; those of the model are "
            f'{names_of(model)} ("classes" in FEDBUS_LOADER_OPTIONS puts them in its order)'
        )


def check_digest(blob: Blob, blob_ref: BlobRef) -> None:
    """Raise TrainingError for bytes that do not have the digest of a blob ref."""
    if digest_of(blob) != blob_ref.digest:
        raise TrainingError("the model's bytes are not those of its digest")
