"""The weighted mean of the updates: federated averaging.

B. McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, 2017,
arXiv 1602.05629, algorithm 1.
"""

from fedbus.plugins import UpdateFacts
from fedbus.strategies.number_parameters import flag


class Mean:
    """The mean of the updates.

    Args:
        weighted: Whether an update counts by its number of examples.
    """

    def __init__(self, *, weighted: bool = True) -> None:
        self._weighted = flag("weighted", weighted)
        self.weighs_equally = not self._weighted

    def weight(self, facts: UpdateFacts) -> float:
        """Return the number of examples, or 1."""
        return float(facts.examples) if self._weighted else 1.0
