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


def survivors_to_sign(  # noqa: PLR0913, PLR0917 - each field is signed
    task: MaskedTask,
    signer: str,
    mask_key: bytes,
    graph: str,
    masked: Sequence[str],
    survivors: Sequence[str],
    updates: str,
) -> bytes:
    """Return what an agent signs of a set of survivors.

    Args:
        task: The task.
        signer: The agent that signs.
        mask_key: Its public mask key: a signature of another run of the task does not count.
        graph: The digest of the graph, with the agents that have made keys.
        masked: Those that have shared their secrets, sorted.
        survivors: Those whose updates are in the sum, sorted.
        updates: The digest of their updates.
    """
    sets = (digest_of_agents(each) for each in (masked, survivors))
    return task.bound("survivors", signer, mask_key.hex(), graph, *sets, updates)


def digest_of_updates(updates: dict[str, str]) -> str:
    """Return the digest of the pairs of an agent and its update's digest, sorted."""
    return digest_of_agents([encoded(pair).hex() for pair in sorted(updates.items())])
