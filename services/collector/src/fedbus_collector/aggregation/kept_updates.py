"""Updates that are kept until the round closes, for rules that need all of them at once.

Called in a worker thread. The first pass over the spools computes inner products, if the rule or
the privacy mechanism asks for them; the second one combines the updates.
"""

from collections.abc import Sequence

import numpy as np

from fedbus.blobs.spool import Spool
from fedbus.errors import FedbusError
from fedbus.plugins import Coefficients, UpdateFacts
from fedbus_collector.aggregation.combined_blocks import (
    LinearCombination,
    NumberwiseCombination,
    UsedCoefficients,
)
from fedbus_collector.aggregation.inner_products import (
    check_norm,
    gram_matrix,
    greatest_distance,
)
from fedbus_collector.aggregation.verification import ArrivedUpdate, UpdateChecks, VerifiedUpdate


class KeptUpdates:
    """The verified updates of a round, in the spools that they arrived in."""

    keeps_spools = True

    def __init__(self, checks: UpdateChecks) -> None:
        self._checks = checks
        self._verified: dict[str, VerifiedUpdate] = {}

    @property
    def _compares(self) -> bool:
        """Whether inner products of the updates are computed."""
        mechanism = self._checks.mechanism
        measures_distance = mechanism is not None and mechanism.needs_distance
        return self._checks.aggregator.gram is not None or measures_distance

    def take(self, updates: Sequence[ArrivedUpdate]) -> dict[str, str]:
        """Verify and keep each update; return the reason for each agent whose update is refused."""
        refused: dict[str, str] = {}
        for update in updates:
            try:
                verified = self._checks.verified(update)
                if self._compares:
                    check_norm(self._checks.runs, verified)
                self._verified[update.agent] = verified
            except FedbusError as error:
                refused[update.agent] = str(error)
        return refused

    def facts(self, agents: Sequence[str]) -> tuple[UpdateFacts, ...]:
        """Return the facts of the updates of these agents, in this order."""
        return tuple(self._verified[agent].facts for agent in agents)

    def distance(self, agents: Sequence[str], base: Spool) -> float:
        """Return the greatest distance of two updates; raise LayoutError as `gram_matrix`."""
        updates = tuple(self._verified[agent] for agent in agents)
        return greatest_distance(gram_matrix(self._checks.runs, base, updates, by_tensor=True))

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
        aggregator = self._checks.aggregator
        linear = aggregator.weighs or aggregator.streams
        said = UsedCoefficients(
            agents=len(used),
            updates=dict(zip(agents, found.updates, strict=True)) if linear else None,
            base=found.base,
        )
        if not aggregator.combines:
            return LinearCombination(kept, factors, said)
        return NumberwiseCombination(kept, np.array(factors), aggregator, said)

    def close(self) -> None:
        """Forget the updates; their spools are the round's."""
        self._verified.clear()

    def _coefficients(self, updates: tuple[VerifiedUpdate, ...], base: Spool) -> Coefficients:
        """Return the rule's coefficients, or the examples of each update if it weighs none."""
        aggregator = self._checks.aggregator
        facts = tuple(update.facts for update in updates)
        if aggregator.streams:
            return Coefficients(aggregator.shares([aggregator.weight(one) for one in facts]))
        if not aggregator.weighs:
            return Coefficients(tuple(float(one.examples) for one in facts))
        gram = None
        if aggregator.gram is not None:
            by_tensor = aggregator.gram == "tensors"
            gram = gram_matrix(self._checks.runs, base, updates, by_tensor=by_tensor)
        return aggregator.weigh(facts, gram)
