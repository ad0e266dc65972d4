"""Contents of the steps of a masked round: what the collector asks, and what an agent answers.

`REQUESTS` and `REPLIES` name the classes of each step; `codec.pack` and `codec.unpack` convert them
to and from the `content` of `Step` and `StepReply`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final

from fedbus.scalars import Bounds
from fedbus.wire.identifiers import Digest, NodeName
from fedbus.wire.secure_aggregation import (
    MAX_MASKED_AGENTS,
    AgentKeys,
    Signature,
    SignedBy,
    StepName,
)

MaskedAgents = Annotated[tuple[NodeName, ...], Bounds(max_length=MAX_MASKED_AGENTS)]
SealedShare = Annotated[bytes, Bounds(min_length=1, max_length=512)]
OpenShare = Annotated[bytes, Bounds(min_length=1, max_length=128)]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysRequest:
    """Make keys for this task; its cohort is `cohort`."""

    cohort: MaskedAgents


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesRequest:
    """Share your secrets: `agents` have made keys, and `keys` are those of your neighbours."""

    agents: MaskedAgents
    keys: Annotated[tuple[AgentKeys, ...], Bounds(max_length=MAX_MASKED_AGENTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareTo:
    """The shares of an agent's secrets for one neighbour, or from one, encrypted for the reader."""

    agent: NodeName
    sealed: SealedShare


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesSealed:
    """The shares of the sender's secrets, one for each of its neighbours.

    `seed_digest` is what a seed that is joined from shares must have as its digest.
    """

    seed_digest: Digest
    shares: Annotated[tuple[ShareTo, ...], Bounds(max_length=MAX_MASKED_AGENTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRequest:
    """Mask your update and offer it: `agents` have shared their secrets, `shares` are for you."""

    agents: MaskedAgents
    shares: Annotated[tuple[ShareTo, ...], Bounds(max_length=MAX_MASKED_AGENTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskAgreed:
    """The sender will offer its masked update as soon as it has trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivorsRequest:
    """Sign the set of the agents whose masked updates are in the sum.

    `updates` is the digest of the sorted pairs of an agent and its update's digest.
    """

    survivors: MaskedAgents
    updates: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivorsSigned:
    """The sender's signature over the set, made with its identity key."""

    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmaskRequest:
    """Reveal the shares that unmask the sum of `survivors`, who have signed that set."""

    survivors: MaskedAgents
    updates: Digest
    signatures: Annotated[tuple[SignedBy, ...], Bounds(max_length=MAX_MASKED_AGENTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenShareOf:
    """A share of one agent's secret, decrypted."""

    agent: NodeName
    share: OpenShare


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesRevealed:
    """Shares of the mask keys of `dropped` agents, and of the seeds of `survived` ones.

    No agent is in both.
    """

    dropped: Annotated[tuple[OpenShareOf, ...], Bounds(max_length=MAX_MASKED_AGENTS)]
    survived: Annotated[tuple[OpenShareOf, ...], Bounds(max_length=MAX_MASKED_AGENTS)]


REQUESTS: Final[Mapping[StepName, type[Any]]] = MappingProxyType(
    {
        "keys": KeysRequest,
        "shares": SharesRequest,
        "mask": MaskRequest,
        "survivors": SurvivorsRequest,
        "unmask": UnmaskRequest,
    }
)
REPLIES: Final[Mapping[StepName, type[Any]]] = MappingProxyType(
    {
        "keys": AgentKeys,
        "shares": SharesSealed,
        "mask": MaskAgreed,
        "survivors": SurvivorsSigned,
        "unmask": SharesRevealed,
    }
)
