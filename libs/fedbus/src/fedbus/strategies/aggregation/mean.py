"""The weighted mean of the updates: federated averaging.

B. McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, 2017,
arXiv 1602.05629, algorithm 1.
"""

from fedbus.plugins import UpdateFacts
from fedbus.strategies.number_parameters import flag, whole


class Mean:
    """The mean of the updates.

    Args:
        weighted: Whether an update counts by its number of examples.
        divisor: The number that the sum of the updates is divided by, however many came; left out,
            the sum of their weights.
    """

    def __init__(self, *, weighted: bool = True, divisor: int | None = None) -> None:
        self._weighted = flag("weighted", weighted)
        self.divisor = None if divisor is None else whole("divisor", divisor, least=1)
        if self._weighted and divisor is not None:
            raise ValueError("divisor: it divides a sum of equal weights: give weighted false")
        self.weighs_equally = not self._weighted and divisor is None

    def weight(self, facts: UpdateFacts) -> float:
        """Return the number of examples, or 1."""
        return float(facts.examples) if self._weighted else 1.0
