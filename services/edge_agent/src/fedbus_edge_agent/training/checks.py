"""What came of a training, held against the bounds of what is sent."""

from collections.abc import Mapping
from dataclasses import dataclass

from fedbus.errors import LayoutError, TrainingError, WireError
from fedbus.model.blob import check_update
from fedbus.model.layout import Weights
from fedbus.training.options import clip_fraction, impossible_metric
from fedbus.wire import codec
from fedbus.wire.identifiers import Metrics


@dataclass(frozen=True, slots=True)
class _MetricsMessage:
    """What a trainer measured, held against the bounds of a message."""

    metrics: Metrics


def checked_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Turn a trainer's figures into what a message holds.

    Raises:
        TrainingError: a figure is no finite number or a share outside 0 to 1, or there are too
            many, or ill-named.
    """
    try:
        figures = {str(name): float(value) for name, value in metrics.items()}
        codec.unpack(_MetricsMessage, codec.pack(_MetricsMessage(figures)))
    except (TypeError, ValueError, WireError) as error:
        raise TrainingError(f"the trainer's metrics: {error}") from error
    if fault := impossible_metric(figures):
        raise TrainingError(f"the trainer's metrics: {fault}")
    return {name: clip_fraction(name, value) for name, value in figures.items()}


def check_finite(weights: Weights) -> None:
    """Refuse weights that went astray, by the first tensor that did.

    Raises:
        TrainingError: a number is NaN or infinite.
    """
    for name, array in weights.items():
        try:
            check_update(array.reshape(-1))
        except LayoutError as error:
            raise TrainingError(
                f"{name!r} is not finite after training ({error}); a lower learning_rate may help"
            ) from error
