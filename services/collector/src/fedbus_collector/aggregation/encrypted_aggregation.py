"""Aggregation of encrypted updates: their sum is the new version. Called in a worker thread.

There is nothing to compute: the version is the sum, and who has the key divides it by the weights
in its header and adds the anchor. So no base is needed, and no server optimizer can work on it.
"""

from dataclasses import dataclass

from fedbus.blobs.spool import Spool
from fedbus_collector.aggregation.aggregate import Aggregate
from fedbus_collector.aggregation.encrypted_total import EncryptedTotal
from fedbus_collector.aggregation.server_step import ServerStep


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedAggregation:
    """What the encrypted version of a round is made from, and the spool that it is written into.

    The step computes the numbers of the strategy's state, such as an adaptive clipping norm.
    """

    total: EncryptedTotal
    agents: tuple[str, ...]
    step: ServerStep
    out: Spool

    def run(self) -> Aggregate:
        """Write the version; raises as `EncryptedTotal.write` does, and if a part fails."""
        step = self.step.with_next_numbers(self.total.facts(self.agents))
        used = self.total.write(self.agents, self.out)
        return Aggregate(self.out.digest(), None, used, step.numbers)
