"""Updates that are kept until the round closes, for rules that need all of them at once.

Called in a worker thread. The first pass over the spools computes inner products, if the rule asks
for them; the second one combines the updates.
"""

from collections.abc import Sequence

import numpy as np

from fedbus.blobs.spool import Spool
from fedbus.errors import FedbusError
from fedbus.plugins import Coefficients
from fedbus.plugins.collector_part_calls import AggregatorCalls
from fedbus_collector.aggregation.combined_blocks import (
    LinearCombination,
    NumberwiseCombination,
    UsedCoefficients,
)
from fedbus_collector.aggregation.inner_products import check_norm, gram_matrix
from fedbus_collector.aggregation.tensor_runs import UpdateRuns
from fedbus_collector.aggregation.verification import ArrivedUpdate, VerifiedUpdate, verify


class KeptUpdates:
    """The verified updates of a round, in the spools that they arrived in."""

    def __init__(self, runs: UpdateRuns, aggregator: AggregatorCalls) -> None:
        self._runs = runs
        self._aggregator = aggregator
        self._verified: dict[str, VerifiedUpdate] = {}

    def take(self, updates: Sequence[ArrivedUpdate]) -> dict[str, str]:
        """Verify and keep each update; return the reason for each agent whose update is refused."""
        refused: dict[str, str] = {}
        for update in updates:
            try:
                if reason := self._aggregator.refuses(update.facts):
                    refused[update.agent] = reason
                    continue
                verified = verify(self._runs, update)
                if self._aggregator.gram is not None:
                    check_norm(self._runs, verified)
                self._verified[update.agent] = verified
            except FedbusError as error:
                refused[update.agent] = str(error)
        return refused

    def combine(
        self, agents: Sequence[str], base: Spool
    ) -> LinearCombination | NumberwiseCombination:
        """Return the combination of the updates of these agents, in this order.

        Raises:
            PluginError: The aggregator finds no coefficients.
            LayoutError: The base is not a plain blob of the layout.
        """
        updates = tuple(self._verified[agent] for agent in agents)
        found = self._coefficients(updates, base)
        pairs = zip(updates, found.updates, strict=True)
        used = tuple((update, factor) for update, factor in pairs if factor)
        kept, factors = tuple(one for one, _ in used), tuple(factor for _, factor in used)
        weighs = self._aggregator.weighs
        said = UsedCoefficients(
            agents=len(used),
            updates=dict(zip(agents, found.updates, strict=True)) if weighs else None,
            base=found.base,
        )
        if not self._aggregator.combines:
            return LinearCombination(kept, factors, said)
        return NumberwiseCombination(kept, np.array(factors), self._aggregator, said)

    def _coefficients(self, updates: tuple[VerifiedUpdate, ...], base: Spool) -> Coefficients:
        """Return the rule's coefficients, or the examples of each update if it weighs none."""
        aggregator = self._aggregator
        facts = tuple(update.facts for update in updates)
        if not aggregator.weighs:
            return Coefficients(tuple(float(one.examples) for one in facts))
        gram = None
        if aggregator.gram is not None:
            gram = gram_matrix(self._runs, base, updates, by_tensor=aggregator.gram == "tensors")
        return aggregator.weigh(facts, gram)
