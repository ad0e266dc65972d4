"""Record of an agent's part in a masked task, which it keeps in its journal. Pure.

It has what the answers to repeated and to later steps need. The secrets leave it as soon as the
update is masked: from then on it has shares of other agents' secrets only, and one of each of its
own.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final

from fedbus.errors import MaskingError, WireError
from fedbus.scalars import Bounds, Flag, Ident, Raw, RoundNumber, Strict
from fedbus.secure_aggregation.agent_secrets import AgentSecrets
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.secure_aggregation.shamir import SHARE_BYTES
from fedbus.wire import codec
from fedbus.wire.identifiers import Digest, NodeName, TaskNumber
from fedbus.wire.secure_aggregation import MAX_MASKED_AGENTS, StepName
from fedbus.wire.step_contents import MaskedAgents

_RECORD_VERSION: Final = 1
_Share = Annotated[bytes, Strict(min_length=SHARE_BYTES, max_length=SHARE_BYTES)]
_MaskKey = Annotated[bytes, Strict(min_length=32, max_length=32)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAnswer:
    """The answer to a step, and the SHA-256 of the request that it answers."""

    request: Raw
    reply: Raw = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldShares:
    """The shares of a neighbour's secrets, or of its own, that an agent holds."""

    mask_key: _Share = field(repr=False)
    seed: _Share = field(repr=False)


@dataclass(slots=True, kw_only=True)
class AgentRecord:
    """What an agent has done in a task so far.

    Attributes:
        version: Of this form.
        agent: The agent's name.
        job: The job.
        round: The round.
        task: The task.
        secrets: `AgentSecrets`; empty before it has made keys, and after it has masked its update.
        answers: The steps that it has answered.
        public_mask_key: The public part of its mask key.
        cohort: The agents that were asked for keys.
        agents: Those that have made keys.
        masked: Those that have shared their secrets.
        identities: The identity keys of its neighbours, as they were when their keys came.
        mask_keys: The mask keys of its neighbours.
        share_keys: The share keys of its neighbours.
        held: Shares that it holds, by the agent whose secrets they are of.
        has_masked: Whether it has masked its update, which it does once.
        survivors: The set that it has signed.
        updates: The digest of that set's updates.
    """

    version: Annotated[int, Strict(ge=_RECORD_VERSION, le=_RECORD_VERSION)] = _RECORD_VERSION
    agent: NodeName
    job: Ident
    round: RoundNumber
    task: TaskNumber
    secrets: Raw = field(default=b"", repr=False)
    answers: dict[StepName, GivenAnswer] = field(default_factory=dict)
    public_mask_key: Raw = b""
    cohort: MaskedAgents = ()
    agents: MaskedAgents = ()
    masked: MaskedAgents = ()
    identities: Annotated[dict[NodeName, Digest], Bounds(max_length=MAX_MASKED_AGENTS)] = field(
        default_factory=dict
    )
    mask_keys: Annotated[dict[NodeName, _MaskKey], Bounds(max_length=MAX_MASKED_AGENTS)] = field(
        default_factory=dict
    )
    share_keys: Annotated[dict[NodeName, _MaskKey], Bounds(max_length=MAX_MASKED_AGENTS)] = field(
        default_factory=dict
    )
    held: Annotated[dict[NodeName, HeldShares], Bounds(max_length=MAX_MASKED_AGENTS)] = field(
        default_factory=dict
    )
    has_masked: Flag = False
    survivors: MaskedAgents = ()
    updates: Annotated[str, Strict(max_length=64)] = ""

    @property
    def masked_task(self) -> MaskedTask:
        """The task."""
        return MaskedTask(job=self.job, round=self.round, task=self.task)

    @property
    def opened_secrets(self) -> AgentSecrets:
        """The secrets.

        Raises:
            MaskingError: There are none, or none any more.
        """
        return AgentSecrets.from_bytes(self.secrets)


def record_to_bytes(record: AgentRecord) -> bytes:
    """Return the journal of a record, which only the agent's user may read."""
    return codec.pack(record)


def record_from_bytes(data: bytes) -> AgentRecord:
    """Return the record of a journal.

    Raises:
        MaskingError: The journal is damaged.
    """
    try:
        return codec.unpack(AgentRecord, data)
    except WireError as error:
        raise MaskingError("the journal of the task is damaged") from error
