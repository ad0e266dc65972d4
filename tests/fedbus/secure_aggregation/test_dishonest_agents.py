"""A dishonest agent in a masked round: what it can do to the sum unnoticed.

Each test shows a limit that docs/privacy.md states: it fails if the limit is gone.
"""

import numpy as np

from tests.fedbus.secure_aggregation.masked_agents import BITS, Federation

LIAR = "agent.a001"


def test_one_agent_can_add_more_than_its_range_allows() -> None:
    """Single numbers cannot be read, so none is checked: a masked update may hold any."""
    federation = Federation(5)
    honest = [name for name in federation.names if name != LIAR]
    federation.updates[LIAR] = np.full(federation.numbers, 3 * 2**BITS, np.uint64)
    federation.run()
    assert federation.collector.survivors == federation.names
    added = federation.unmasked() - federation.plain(honest)
    assert np.array_equal(added, np.full(federation.numbers, 3 * 2**BITS))
