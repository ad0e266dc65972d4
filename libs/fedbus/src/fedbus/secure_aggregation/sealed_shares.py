"""Shares of an agent's secrets, encrypted for its neighbours. Pure.

What encrypts a share is bound to the task, to the agents that made keys, and to sender and
receiver in this order: no node can pass a share on as another one.
"""

from collections.abc import Mapping, Sequence

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.agent_record import HeldShares
from fedbus.secure_aggregation.agent_secrets import AgentSecrets
from fedbus.secure_aggregation.key_agreement import (
    agreed_secret,
    derived_key,
    open_sealed,
    seal,
)
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.secure_aggregation.neighbours import NeighbourGraph
from fedbus.secure_aggregation.shamir import SHARE_BYTES, RandomBytes, check_share, split
from fedbus.wire.step_contents import ShareTo


def sealed_shares(  # noqa: PLR0913, PLR0917 - whose secrets, for whom, and how many
    task: MaskedTask,
    graph: NeighbourGraph,
    agent: str,
    secrets: AgentSecrets,
    share_keys: Mapping[str, bytes],
    random_bytes: RandomBytes,
) -> tuple[HeldShares, tuple[ShareTo, ...]]:
    """Return the shares that an agent keeps itself, and those for its neighbours, encrypted.

    Raises:
        MaskingError: A neighbour's key is not valid.
    """
    holders = graph.neighbourhood(agent)
    halves = (
        split(secret, graph.least, len(holders), random_bytes)
        for secret in (secrets.mask_key, secrets.seed)
    )
    shares = dict(zip(holders, zip(*halves, strict=True), strict=True))
    own = HeldShares(mask_key=shares[agent][0], seed=shares[agent][1])
    sealed = []
    for other in graph.neighbours(agent):
        bound = _bound(task, graph, agent, other)
        key = derived_key(_agreed(secrets, share_keys, other), bound)
        content = seal(b"".join(shares[other]), key, bound, random_bytes)
        sealed.append(ShareTo(agent=other, sealed=content))
    return own, tuple(sealed)


def open_shares(  # noqa: PLR0913, PLR0917 - as above
    task: MaskedTask,
    graph: NeighbourGraph,
    agent: str,
    secrets: AgentSecrets,
    share_keys: Mapping[str, bytes],
    shares: Sequence[ShareTo],
) -> dict[str, HeldShares]:
    """Return the shares that an agent can decrypt, by the agents whose secrets they are of.

    One that does not decrypt is left out: its sender may be dishonest, and must not be able to make
    this agent leave the round.
    """
    opened = {}
    for each in shares:
        bound = _bound(task, graph, each.agent, agent)
        key = derived_key(_agreed(secrets, share_keys, each.agent), bound)
        try:
            plain = open_sealed(each.sealed, key, bound)
            mask_key, seed = plain[:SHARE_BYTES], plain[SHARE_BYTES:]
            check_share(mask_key)
            check_share(seed)
        except MaskingError:
            continue
        opened[each.agent] = HeldShares(mask_key=mask_key, seed=seed)
    return opened


def _bound(task: MaskedTask, graph: NeighbourGraph, sender: str, receiver: str) -> bytes:
    return task.bound("shares", sender, receiver, graph.digest)


def _agreed(secrets: AgentSecrets, share_keys: Mapping[str, bytes], other: str) -> bytes:
    try:
        return agreed_secret(secrets.share_key, share_keys[other])
    except MaskingError as error:
        raise MaskingError(f"{other} has {error}") from error
