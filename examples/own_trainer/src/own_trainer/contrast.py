"""A transform: what is dark comes out."""

import numpy as np

from fedbus import Batch, Format, TrainingError


class Contrast:
    """Raise shades of 0 to 1 to a power; one below 1 makes the dark ones lighter."""

    def __init__(self, power: float = 0.5) -> None:
        if not power > 0:
            raise TrainingError(f"power is {power}; a number above 0 belongs there")
        self.power = power

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """x: any shape, 0 to 1; returns the same."""
        x, y = batch
        return np.power(x, np.float32(self.power)), y

    def transform_format(self, form: Format) -> Format:
        """Nothing changes."""
        return form
