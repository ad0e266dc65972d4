"""A transform that brightens dark pixels."""

import numpy as np

from fedbus import Batch, Format, TrainingError


class Contrast:
    """Raises pixels of 0 to 1 to a power; a power below 1 brightens dark ones."""

    def __init__(self, power: float = 0.5) -> None:
        if not power > 0:
            raise TrainingError(f"expected a power above 0, got {power}")
        self.power = power

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """Transform x, of any shape, 0 to 1; y stays unchanged."""
        x, y = batch
        return np.power(x, np.float32(self.power)), y

    def transform_format(self, form: Format) -> Format:
        """Return the same format: shape, dtype and range stay."""
        return form
