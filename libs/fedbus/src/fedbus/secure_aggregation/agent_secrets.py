"""Secrets of an agent for one task, and what follows from them. Pure.

mask key     X25519; agrees with each neighbour on the seed of a mask that both have, one added
             and one subtracted; revealed by shares if the agent drops out
share key    X25519; agrees with each neighbour on a key that encrypts shares; never revealed
seed         32 bytes; of its own mask; revealed by shares if the agent's update is in the sum
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.key_agreement import (
    KEY_BYTES,
    agreed_secret,
    derived_key,
    public_key,
)
from fedbus.secure_aggregation.mask_streams import Mask
from fedbus.secure_aggregation.masked_task import MaskedTask, digest_of_agents
from fedbus.secure_aggregation.shamir import RandomBytes

_SECRETS: Final = 3


@dataclass(frozen=True, slots=True)
class AgentSecrets:
    """The three secrets; they are not in the `repr`."""

    mask_key: bytes = field(repr=False)
    share_key: bytes = field(repr=False)
    seed: bytes = field(repr=False)

    @classmethod
    def fresh(cls, random_bytes: RandomBytes) -> "AgentSecrets":
        """Return new secrets."""
        return cls(*(random_bytes(KEY_BYTES) for _ in range(_SECRETS)))

    @classmethod
    def from_bytes(cls, data: bytes) -> "AgentSecrets":
        """Return the secrets of a journal.

        Raises:
            MaskingError: These are no secrets.
        """
        if len(data) != _SECRETS * KEY_BYTES:
            raise MaskingError(f"{len(data)} bytes that are no secrets of an agent")
        return cls(*(data[at : at + KEY_BYTES] for at in range(0, len(data), KEY_BYTES)))

    def to_bytes(self) -> bytes:
        """Return the secrets for a journal, which only the agent's user may read."""
        return self.mask_key + self.share_key + self.seed

    @property
    def public_mask_key(self) -> bytes:
        """The public part of the mask key."""
        return public_key(self.mask_key)

    @property
    def public_share_key(self) -> bytes:
        """The public part of the share key."""
        return public_key(self.share_key)


def seed_digest(task: MaskedTask, agent: str, seed: bytes) -> str:
    """Return what an agent states of its seed, by which a joined seed is recognized."""
    return hashlib.sha256(task.bound("digest of a seed", agent) + seed).hexdigest()


def own_mask(task: MaskedTask, agent: str, masked: Sequence[str], seed: bytes) -> Mask:
    """Return the mask that an agent alone has, as it adds it."""
    info = task.bound("own mask", agent, digest_of_agents(masked))
    return Mask(derived_key(seed, info), 1)


def pairwise_masks(
    task: MaskedTask,
    agent: str,
    mask_key: bytes,
    neighbours: Mapping[str, bytes],
    masked: Sequence[str],
) -> tuple[Mask, ...]:
    """Return the masks of an agent with its neighbours, as it adds and subtracts them.

    The seeds depend on the set of agents that masks are made for: agents which were shown different
    sets have no mask in common, so their sum cannot be opened.

    Args:
        task: The task.
        agent: The agent's name.
        mask_key: Its private mask key.
        neighbours: The public mask keys of its neighbours, by name.
        masked: All agents that mask their updates, sorted.

    Raises:
        MaskingError: A neighbour's key is not valid.
    """
    together = digest_of_agents(masked)
    masks = []
    for other, key in sorted(neighbours.items()):
        info = task.bound("pairwise mask", *sorted((agent, other)), together)
        seed = derived_key(agreed_secret(mask_key, key), info)
        masks.append(Mask(seed, 1 if agent < other else -1))
    return tuple(masks)
