"""FedDyn, the agents' half: a proximal term, less the agent's own gradient. Pure.

D. A. E. Acar et al., Federated Learning Based on Dynamic Regularization, 2021, arXiv 2111.04263,
algorithm 1. The server's half is `server_optimizers.feddyn_server`, with the same `alpha`.
"""

import numpy as np

from fedbus.model.layout import Weights
from fedbus.plugins.objective_protocols import LocalEnd, LocalStart
from fedbus.strategies.number_parameters import positive
from fedbus.training.local_terms import LocalTerms


class FedDynObjective:
    """Adds alpha / 2 * ||w - base||^2 - <g, w> to the loss.

    g is the gradient of the loss where the agent's last training ended: after one that ends where
    the sum is least, g - alpha * update. The more exact the training, the better.

    Args:
        alpha: The strength of the regularization; the server optimizer has the same.
    """

    def __init__(self, *, alpha: float = 0.1) -> None:
        self._alpha = positive("alpha", alpha)

    def terms(self, start: LocalStart) -> LocalTerms:
        """Return the proximal term, and the linear term -g."""
        return LocalTerms(proximal=self._alpha, linear={name: -g for name, g in start.own.items()})

    def after(self, start: LocalStart, update: Weights, _steps: int) -> LocalEnd:
        """Return g - alpha * update to keep."""
        alpha = np.float32(self._alpha)
        return LocalEnd(
            own={name: g - alpha * update[name].astype(np.float32) for name, g in start.own.items()}
        )
