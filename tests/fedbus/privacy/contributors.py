"""Contributors of a round, from nothing but what its ledger entry depends on."""

from collections.abc import Mapping

from fedbus.wire.round_records import Contributor
from fedbus.wire.strategies import TrainingFacts


def contributors_of(
    updates: Mapping[str, str], bits: Mapping[str, float] | None = None
) -> list[Contributor]:
    """Make the contributors of these updates, by agent, with the norm bits of those that have one.

    They are in the order of the updates.
    """
    return [
        Contributor(
            agent=agent,
            task=1,
            examples=1,
            update=update,
            metrics={},
            facts=TrainingFacts(norm_bit=(bits or {}).get(agent)),
        )
        for agent, update in updates.items()
    ]
