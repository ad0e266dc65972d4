"""FedAvgM: the server keeps a momentum of the combined updates. Pure.

T.-M. H. Hsu et al., Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification, 2019, arXiv 1909.06335, section 3.3. The learning rate is that of Flower's FedAvgM.
"""

from collections.abc import Mapping

from fedbus.plugins.strategy_protocols import Block, Combined
from fedbus.strategies.number_parameters import decay, positive


class Momentum:
    """A step of server_learning_rate * v, where v becomes server_momentum * v + update.

    Args:
        server_learning_rate: The size of the step.
        server_momentum: The share of v that is kept in a round. Updates that stay the same grow by
            up to 1 / (1 - server_momentum): with 0.9 by 10.
    """

    state = ("momentum",)

    def __init__(self, *, server_learning_rate: float = 1.0, server_momentum: float = 0.9) -> None:
        self._rate = positive("server_learning_rate", server_learning_rate)
        self._momentum = decay("server_momentum", server_momentum)

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Return base + rate * v."""
        v = state["momentum"]
        v[:] = self._momentum * v + combined.update
        return base + self._rate * v
