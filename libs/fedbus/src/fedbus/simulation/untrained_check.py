"""Check of a version's tensors that are not trained: statistics, whole numbers, local tensors."""

from collections.abc import Iterator

import numpy as np

from fedbus.model.layout import Array, Tensor
from fedbus.model.sections import trained_tensors
from fedbus.simulation.reference_rules import (
    REFERENCE_COMBINATIONS,
    WEIGHS_ALL,
    WEIGHS_ONE,
    Updates,
    Vector,
    reference_combination,
)
from fedbus.simulation.round_arrays import TOLERANCE, RoundArrays, float_error
from fedbus.simulation.stored_records import RecordsError


def check_untrained(arrays: RoundArrays) -> None:
    """Raise RecordsError unless each is a mean of the used updates, and local ones are the base's.

    Each dtype has a mean of its own. Means of an unknown aggregator are not checked.
    """
    trained = {tensor.name for tensor in trained_tensors(arrays.layout)}
    for tensor in arrays.layout.tensors:
        old, new = arrays.base[tensor.name], arrays.committed[tensor.name]
        if tensor.role == "local":
            if old.tobytes() != new.tobytes():
                raise RecordsError(
                    f"{arrays.what} changed tensor {tensor.name!r}, which is local to agents"
                )
        elif tensor.name not in trained:
            numbers = arrays.matrix((tensor,))
            means = [mean.reshape(tensor.shape) for mean in _means(arrays, tensor, numbers)]
            scale = (arrays.shares @ np.abs(numbers)).reshape(tensor.shape)
            errors = [_mean_error(tensor, old, new, mean, scale) for mean in means]
            if errors and all(errors):
                raise RecordsError(
                    f"{arrays.what} is not the mean of its updates:"
                    f" tensor {tensor.name!r} {errors[0]}"
                )


def _means(arrays: RoundArrays, tensor: Tensor, numbers: Updates) -> Iterator[Vector]:
    """Yield the changes that an untrained tensor may have; none if the rule is unknown."""
    rule, coefficients = arrays.record.strategy.aggregator, arrays.coefficients
    if coefficients is None or rule.id in REFERENCE_COMBINATIONS:
        if tensor.dtype == "bool":
            yield arrays.shares @ numbers
        elif (combined := reference_combination(rule, numbers[arrays.used])) is not None:
            yield combined
        return
    if rule.id not in WEIGHS_ALL:
        yield coefficients @ numbers
    if rule.id not in WEIGHS_ONE:
        yield arrays.shares @ numbers


def _mean_error(tensor: Tensor, old: Array, new: Array, mean: Vector, scale: Vector) -> str:
    """Return how a tensor differs from its base plus a mean; "" if by no more than rounding."""
    if np.dtype(tensor.dtype).kind == "f":
        before = old.astype("f8")
        return float_error(tensor, new, before + mean, np.abs(before) + scale)
    error = np.abs(new.astype("i8") - old.astype("i8") - mean)
    if (error <= 0.5 + TOLERANCE * (1 + np.abs(mean))).all():
        return ""
    changes = f"where its values change by about {np.abs(mean).max():.3g}"
    return f"differs by {error.max():.3g}, {changes}"
