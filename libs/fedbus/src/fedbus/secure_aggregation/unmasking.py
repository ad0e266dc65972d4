"""Unmasking of a sum: secrets joined from revealed shares, and the masks to remove. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.agent_secrets import own_mask, pairwise_masks, seed_digest
from fedbus.secure_aggregation.key_agreement import public_key
from fedbus.secure_aggregation.mask_streams import Mask
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.secure_aggregation.neighbours import NeighbourGraph
from fedbus.secure_aggregation.shamir import join


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedSum:
    """What a sum of masked updates depends on.

    Attributes:
        task: The task.
        graph: The neighbours, of all agents that made keys.
        masked: The agents that masked for each other, sorted.
        survivors: Those whose updates are in the sum, sorted.
        mask_keys: The public mask keys of all agents that masked.
        seed_digests: The digests of their seeds.
    """

    task: MaskedTask
    graph: NeighbourGraph
    masked: tuple[str, ...]
    survivors: tuple[str, ...]
    mask_keys: Mapping[str, bytes]
    seed_digests: Mapping[str, str]


@dataclass(slots=True)
class JoinedSecrets:
    """What the shares gave: the seeds of survivors, and the mask keys of dropped agents.

    `wrong` are the agents that revealed a wrong share.
    """

    seeds: dict[str, bytes] = field(default_factory=dict, repr=False)
    mask_keys: dict[str, bytes] = field(default_factory=dict, repr=False)
    wrong: set[str] = field(default_factory=set)


def joined_secrets(of: MaskedSum, revealed: Mapping[str, Mapping[str, bytes]]) -> JoinedSecrets:
    """Join the secret of each agent that masked.

    Args:
        of: The sum.
        revealed: For each agent that masked, the shares of its seed (a survivor) or of its mask key
            (any other), by the agents that revealed them.

    Raises:
        MaskingError: The shares of an agent are too few, or wrong; it is named.
    """
    joined = JoinedSecrets()
    survivors = set(of.survivors)
    for agent in of.masked:
        holders = of.graph.neighbourhood(agent)
        shares = {holders.index(by) + 1: share for by, share in revealed[agent].items()}

        def is_seed(secret: bytes, agent: str = agent) -> bool:
            return seed_digest(of.task, agent, secret) == of.seed_digests[agent]

        def is_mask_key(secret: bytes, agent: str = agent) -> bool:
            return public_key(secret) == of.mask_keys[agent]

        survived = agent in survivors
        try:
            secret, wrong = join(shares, of.graph.least, is_seed if survived else is_mask_key)
        except MaskingError as error:
            raise MaskingError(f"{error} of {agent}") from error
        (joined.seeds if survived else joined.mask_keys)[agent] = secret
        joined.wrong |= {holders[number - 1] for number in wrong}
    return joined


def masks_to_remove(of: MaskedSum, secrets: JoinedSecrets) -> Iterator[Mask]:
    """Yield what must be added to the sum of masked updates so that no mask is left in it."""
    survivors = set(of.survivors)
    for agent in of.survivors:
        own = own_mask(of.task, agent, of.masked, secrets.seeds[agent])
        yield Mask(own.seed, -own.sign)
    for agent, mask_key in secrets.mask_keys.items():
        near = survivors.intersection(of.graph.neighbours(agent))
        # The survivors' masks have the other sign, so these take them away.
        keys = {name: of.mask_keys[name] for name in near}
        yield from pairwise_masks(of.task, agent, mask_key, keys, of.masked)
