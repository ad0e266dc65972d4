"""An aggregator that lets no update count more because it is long."""

from collections.abc import Sequence

import numpy as np

from fedbus import Array, Coefficients, UpdateFacts


class EqualNorms:
    """The mean of the updates, each brought to their median norm."""

    gram = "model"

    def weigh(self, _facts: Sequence[UpdateFacts], gram: Array) -> Coefficients:
        """Return the median norm over each update's norm, divided by the number of updates."""
        norms = np.sqrt(np.diag(gram)[1:])
        factors = np.median(norms) / np.where(norms > 0, norms, 1) / len(norms)
        return Coefficients([float(c) or 1 / len(norms) for c in factors])
