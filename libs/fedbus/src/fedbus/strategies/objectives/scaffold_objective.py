"""SCAFFOLD, the agents' half: each step is corrected by control variates. Pure.

S. P. Karimireddy et al., SCAFFOLD: Stochastic Controlled Averaging for Federated Learning, 2020,
arXiv 1910.06378, algorithm 1, lines 9 to 14, with option II of line 12. The server's half is
`server_optimizers.scaffold_server`.
"""

import numpy as np

from fedbus.errors import TrainingError
from fedbus.model.layout import Weights
from fedbus.plugins.objective_protocols import LocalEnd, LocalStart
from fedbus.training.local_terms import LocalTerms


class ScaffoldObjective:
    """Adds c - c_i to the gradient: the server's control variate less the agent's own.

    After K steps of rate eta from x to y, c_i becomes c_i - c + (x - y) / (K * eta), the mean
    gradient of the training. That holds for SGD with a constant rate and without momentum only.
    """

    facts = ("steps",)
    server_state = ("control",)
    sections = ("control",)
    needs_plain_sgd = True

    def terms(self, start: LocalStart) -> LocalTerms:
        """Return the linear term c - c_i."""
        control = start.server["control"]
        return LocalTerms(linear={name: c - start.own[name] for name, c in control.items()})

    def after(self, start: LocalStart, update: Weights, steps: int) -> LocalEnd:
        """Return c_i+ to keep, and c_i+ - c_i to send.

        Raises:
            TrainingError: There was no step, and so no gradient.
        """
        if steps < 1:
            raise TrainingError("SCAFFOLD needs at least one optimizer step, got 0")
        rate = np.float32(steps * start.params.learning_rate)
        change = {
            name: -c - update[name].astype(np.float32) / rate
            for name, c in start.server["control"].items()
        }
        own = {name: start.own[name] + added for name, added in change.items()}
        return LocalEnd(own=own, sections={"control": change})
