"""Bytes that agents sign with their identity keys in a masked round. Pure.

Every field of what is signed is in the signed bytes, each with its length before it.
"""

from collections.abc import Sequence

from fedbus.secure_aggregation.masked_task import MaskedTask, digest_of_agents, encoded
from fedbus.wire.secure_aggregation import AgentKeys


def keys_to_sign(task: MaskedTask, agent: str, mask_key: bytes, share_key: bytes) -> bytes:
    """Return what an agent signs of its keys for a task."""
    return task.bound("keys of an agent", agent, mask_key.hex(), share_key.hex())


def signed_keys(task: MaskedTask, keys: AgentKeys) -> bytes:
    """Return what the signature of these keys must be over."""
    return keys_to_sign(task, keys.agent, keys.mask_key, keys.share_key)


def survivors_to_sign(
    task: MaskedTask,
    agents: Sequence[str],
    masked: Sequence[str],
    survivors: Sequence[str],
    updates: str,
) -> bytes:
    """Return what an agent signs of a set of survivors.

    Args:
        task: The task.
        agents: Those that have made keys, sorted.
        masked: Those that have shared their secrets, sorted.
        survivors: Those whose updates are in the sum, sorted.
        updates: The digest of their updates.
    """
    sets = (digest_of_agents(each) for each in (agents, masked, survivors))
    return task.bound("survivors", *sets, updates)


def digest_of_updates(updates: dict[str, str]) -> str:
    """Return the digest of the pairs of an agent and its update's digest, sorted."""
    return digest_of_agents([encoded(pair).hex() for pair in sorted(updates.items())])
