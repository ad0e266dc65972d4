"""FedYogi: Yogi with the combined update in place of the gradient. Pure.

S. Reddi et al., Adaptive Federated Optimization, 2021, arXiv 2003.00295, algorithm 2. As there, the
second moment begins at tau squared and neither moment is corrected for its first value.
"""

import numpy as np

from fedbus.plugins.strategy_protocols import Block
from fedbus.strategies.server_optimizers.adam import Adam


class Yogi(Adam):
    """Adam whose second moment falls slowly: by a share of the squared update, not of itself.

    So a round with small updates does not enlarge the steps of the next ones as much.

    Args:
        server_learning_rate: The size of a step; tune it together with `tau`.
        beta_1: The share of m, the mean update, that is kept in a round.
        beta_2: 1 less the share of the squared update by which v moves towards it in a round.
        tau: How far steps adapt: a number with smaller updates moves by at most
            server_learning_rate / tau times its mean update. v begins at tau squared.
    """

    def _change_second_moment(self, v: Block, delta: Block) -> None:
        v -= (1 - self._beta_2) * delta**2 * np.sign(v - delta**2)
