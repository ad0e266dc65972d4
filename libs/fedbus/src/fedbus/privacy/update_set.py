"""Digest of a round's set of updates: which agents' updates are combined, and what they contain.

The collector's noise and its ledger entry depend on it, so the collector, the repository and the
oracle of simulations compute it alike. Pure.
"""

from collections.abc import Iterable
from typing import Final

from fedbus.digest import hasher
from fedbus.wire.round_records import Contributor

_PURPOSE: Final = b"fedbus update set 2\n"
"""So that no update, and no other digest of this project, has the same bytes."""


def digest_of_update_set(contributors: Iterable[Contributor]) -> str:
    """Return the digest of the sorted (agent, digest of its update, its norm bit) triples.

    The norm bit belongs to it since the count of the bits has noise, too: with other bits the count
    is another sum, which must get other noise. The length goes before each text, so no two sets are
    written alike; an empty set has a digest, too.
    """
    digest = hasher()
    digest.update(_PURPOSE)
    for triple in sorted((each.agent, each.update, _bit_of(each)) for each in contributors):
        for text in triple:
            written = text.encode()
            digest.update(len(written).to_bytes(8, "big") + written)
    return digest.hexdigest()


def _bit_of(contributor: Contributor) -> str:
    """Return the norm bit, all its digits; empty if there is none. -0 is 0."""
    bit = contributor.facts.norm_bit
    return "" if bit is None else (float(bit) + 0.0).hex()
