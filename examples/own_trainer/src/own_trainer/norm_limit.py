"""An update transform that limits how far one agent can move the model."""

import numpy as np

from fedbus import Weights


class NormLimit:
    """Scales an update down to a Euclidean norm of at most `most`."""

    def __init__(self, *, most: float = 1.0) -> None:
        if not most > 0:
            raise ValueError(f"most: expected a number above 0, got {most}")
        self.most = most

    def transform_update(self, update: Weights, _rng: np.random.Generator) -> Weights:
        """Multiply all arrays by one factor."""
        norm = float(np.sqrt(sum(np.vdot(array, array) for array in update.values())))
        factor = np.float32(min(1.0, self.most / max(norm, 1e-12)))
        return {name: array * factor.astype(array.dtype) for name, array in update.items()}
