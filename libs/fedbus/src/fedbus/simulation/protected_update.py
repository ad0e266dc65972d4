"""Combined update of a private round with its noise, computed again; its clipping and numbers."""

import numpy as np

from fedbus.model.sections import trained_tensors
from fedbus.simulation.reference_observers import observed_numbers
from fedbus.simulation.reference_privacy import (
    CLOSE,
    DrawnAgain,
    PrivateRound,
    Protected,
    reference_protection,
)
from fedbus.simulation.reference_rules import Vector
from fedbus.simulation.round_arrays import RoundArrays
from fedbus.simulation.stored_records import RecordsError, RoundLike


def protected_update(
    arrays: RoundArrays, combined: Vector, parent: RoundLike, noise: DrawnAgain | None
) -> Protected | None:
    """Return the combined update with its noise; None if that cannot be computed.

    Args:
        combined: The combined update without noise, shape (numbers,).
        noise: The noise that the collector drew; None: it drew none, or it is not known.

    Raises:
        RecordsError: An update is longer than the limit, or the round keeps other numbers than
            its mechanism makes.
    """
    record, transforms = arrays.record, arrays.record.strategy.update_transforms
    protected: Protected | None = Protected(update=combined)
    if transforms:
        draws = record.strategy.privacy is not None and record.strategy.privacy.noise == "collector"
        if len(transforms) > 1 or (draws and noise is None):
            return None
        before = None if parent.record is None else parent.record.state
        continues = record.state is not None and record.state.rounds > 1 and before is not None
        made = PrivateRound(
            combined=combined,
            updates=arrays.trained[arrays.used],
            tensors=tuple(tensor.numbers for tensor in trained_tensors(arrays.layout)),
            bits=[one.facts.norm_bit or 0.0 for one in record.contributors],
            numbers=before.numbers if continues and before is not None else {},
            cohort=arrays.agents,
            noise=noise,
        )
        protected = reference_protection(transforms[0], made)
    if protected is not None:
        _check_lengths(arrays, protected.limit)
        _check_numbers(arrays, protected)
    return protected


def _check_lengths(arrays: RoundArrays, limit: float | None) -> None:
    """Check that each update was clipped."""
    lengths = np.linalg.norm(arrays.trained, axis=1)
    if limit is not None and (lengths > limit).any():
        longest = arrays.record.contributors[int(np.argmax(lengths))]
        raise RecordsError(
            f"{arrays.what} counts an update of {longest.agent} with the norm"
            f" {lengths.max():.6g}, and the limit is {limit:.6g}"
        )


def _check_numbers(arrays: RoundArrays, protected: Protected) -> None:
    """Check the numbers of the state, but for those of freezing and synchronization."""
    record, expected = arrays.record, protected.numbers
    observed = observed_numbers(record.strategy)
    numbers = {} if record.state is None else record.state.numbers
    stored = {name: value for name, value in numbers.items() if name not in observed}
    if stored.keys() != expected.keys() or not np.allclose(
        [stored[name] for name in expected], [*expected.values()], rtol=CLOSE, atol=0
    ):
        raise RecordsError(
            f"{arrays.what} keeps the numbers {stored}, where its mechanism makes {expected}"
        )
