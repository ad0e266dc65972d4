"""Secure aggregation in messages: a job's terms, and the steps of a masked round.

SecAgg+ (Bell et al. 2020, ePrint 2020/704) after Bonawitz et al. 2017 (ePrint 2017/281): agents add
masks to their updates which cancel out in the sum, and reveal what removes the masks of the agents
that dropped out only after they have agreed on the agents that are in the sum.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fedbus.scalars import Bounds, Strict
from fedbus.wire.encryption import FixedPoint
from fedbus.wire.identifiers import NodeName

MAX_MASKED_AGENTS: Final = 1000
"""Agents in a masked round: each signs the set of all, which one message holds."""

StepName = Literal["keys", "shares", "mask", "survivors", "unmask"]
"""A step of a masked round. `keys`: each agent makes keys; `shares`: it shares what removes its
masks among its neighbours; `mask`: it masks and offers its update; `survivors`: it signs the set of
agents whose updates came; `unmask`: it reveals the shares for that set."""

STEPS: Final[tuple[StepName, ...]] = ("keys", "shares", "mask", "survivors", "unmask")

Signature = Annotated[bytes, Bounds(min_length=64, max_length=64)]
PublicKeyBytes = Annotated[bytes, Bounds(min_length=32, max_length=32)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureAggregationTerms:
    """How a job's updates are masked, resolved when it is submitted.

    Attributes:
        fixed_point: How the numbers become whole numbers.
        neighbours: Agents that each agent exchanges masks and shares with; all others of the cohort
            if there are fewer.
        threshold: Shares, and signatures, without which nothing is unmasked, as a share of an
            agent's neighbourhood (itself included), above one half.
        step_seconds: Seconds that a step waits for agents that do not answer.
    """

    fixed_point: FixedPoint
    neighbours: Annotated[int, Strict(ge=2, le=MAX_MASKED_AGENTS - 1)]
    threshold: Annotated[float, Strict(gt=0.5, le=1)]
    step_seconds: Annotated[float, Strict(gt=0, le=3600)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentKeys:
    """The public keys of one agent for one task, signed with its identity key.

    `mask_key` agrees on pairwise masks, `share_key` encrypts shares (X25519, both fresh).
    """

    agent: NodeName
    mask_key: PublicKeyBytes
    share_key: PublicKeyBytes
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBy:
    """One agent's signature over the set of survivors of a task."""

    agent: NodeName
    signature: Signature
