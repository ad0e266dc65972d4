"""Checks of what agents answer to the steps of a masked round, at the collector. Pure.

Each raises MaskingError with a sentence that names the agent and the fault.
"""

from collections.abc import Collection, Sequence

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.identity_key import is_signed
from fedbus.secure_aggregation.key_agreement import KEY_BYTES, agreed_secret
from fedbus.secure_aggregation.masked_task import MaskedTask, check_sorted
from fedbus.secure_aggregation.shamir import check_share
from fedbus.secure_aggregation.signed_sets import signed_keys
from fedbus.wire.secure_aggregation import AgentKeys
from fedbus.wire.step_contents import OpenShareOf, SharesRevealed, SharesSealed


def check_keys(task: MaskedTask, agent: str, keys: AgentKeys, identity: str | None) -> None:
    """Check an agent's keys, and their signature if its identity is known."""
    if keys.agent != agent:
        raise MaskingError(f"{agent} sent keys of {keys.agent}")
    for public in (keys.mask_key, keys.share_key):
        try:
            agreed_secret(bytes(KEY_BYTES), public)
        except MaskingError as error:
            raise MaskingError(f"{agent} sent {error}") from error
    check_signature(agent, "its keys", signed_keys(task, keys), keys.signature, identity)


def check_signature(
    agent: str, what: str, message: bytes, signature: bytes, identity: str | None
) -> None:
    """Check a signature of an agent whose identity is known."""
    if identity is not None and not is_signed(message, signature, identity):
        raise MaskingError(f"{agent} has not signed {what} with the identity key that it announced")


def check_shares(agent: str, sent: SharesSealed, neighbours: Sequence[str]) -> None:
    """Check that there is one encrypted share for each neighbour, in order."""
    receivers = [each.agent for each in sent.shares]
    if agent in receivers:
        raise MaskingError(f"{agent} sent a share to itself")
    if receivers != list(neighbours):
        raise MaskingError(f"{agent} sent shares that are not one for each neighbour, sorted")


def check_revealed(
    agent: str, sent: SharesRevealed, dropped: Collection[str], survived: Collection[str]
) -> None:
    """Check that each share is of a neighbour, of the right kind, and an element of the field."""
    _check_kind(agent, "dropped", sent.dropped, dropped)
    _check_kind(agent, "survived", sent.survived, survived)


def _check_kind(
    agent: str, kind: str, shares: Sequence[OpenShareOf], allowed: Collection[str]
) -> None:
    names = [each.agent for each in shares]
    check_sorted(names, f"what {agent} revealed")
    if wrong := [name for name in names if name not in allowed]:
        raise MaskingError(f"{agent} revealed a share of {wrong[0]} among those that {kind}")
    for each in shares:
        try:
            check_share(each.share)
        except MaskingError as error:
            raise MaskingError(f"{agent} revealed {error}, of {each.agent}") from error
