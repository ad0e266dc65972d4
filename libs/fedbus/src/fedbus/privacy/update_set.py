"""Digest of a round's set of updates: which agents' updates are combined, and what they contain.

The collector's noise and its ledger entry depend on it, so the collector, the repository and the
oracle of simulations compute it alike. Pure.
"""

from collections.abc import Mapping
from typing import Final

from fedbus.digest import hasher

_PURPOSE: Final = b"fedbus update set 1\n"
"""So that no update, and no other digest of this project, has the same bytes."""


def digest_of_update_set(updates: Mapping[str, str]) -> str:
    """Return the digest of the sorted (agent, digest of its update) pairs.

    The length goes before each text, so no two sets are written alike; an empty set has one, too.
    """
    digest = hasher()
    digest.update(_PURPOSE)
    for pair in sorted(updates.items()):
        for text in pair:
            written = text.encode()
            digest.update(len(written).to_bytes(8, "big") + written)
    return digest.hexdigest()
