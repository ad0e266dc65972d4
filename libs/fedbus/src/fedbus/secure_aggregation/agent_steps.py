"""Steps of a masked round on an agent: answered once, repeated with the same bytes. Pure."""

import hashlib
from typing import Any

from fedbus.errors import MaskingError, WireError
from fedbus.model.fixed_point import Wholes
from fedbus.secure_aggregation.accepted_terms import SAFE_TERMS, AcceptedTerms
from fedbus.secure_aggregation.agent_answers import AgentAnswers, IdentityOf
from fedbus.secure_aggregation.agent_record import (
    AgentRecord,
    GivenAnswer,
    record_from_bytes,
    record_to_bytes,
)
from fedbus.secure_aggregation.agent_secrets import (
    own_mask,
    pairwise_masks,
)
from fedbus.secure_aggregation.identity_key import IdentityKey
from fedbus.secure_aggregation.masked_blob import MaskedHeader, masked_blob
from fedbus.secure_aggregation.masked_task import (
    MaskedTask,
)
from fedbus.secure_aggregation.shamir import RandomBytes
from fedbus.wire import codec
from fedbus.wire.secure_aggregation import (
    STEPS,
    SecureAggregationTerms,
    StepName,
)
from fedbus.wire.step_contents import (
    REQUESTS,
    SharesRequest,
)


class AgentSteps:
    """One agent's part in one masked task.

    What `to_bytes` returns must be durable before an answer, or an offer of the masked update,
    leaves the agent; without it the agent cannot go on, and must not begin again.

    Args:
        agent: The agent's name.
        task: The task.
        terms: The job's.
        identity: The agent's identity key.
        identity_of: The identities of others, from a source that the collector cannot write.
        random_bytes: `os.urandom` outside tests.
        journal: What `to_bytes` returned before a restart.
        accepted: The least that this agent accepts.

    Raises:
        MaskingError: The journal is damaged, or of another agent or task.
    """

    def __init__(  # noqa: PLR0913 - the agent, its task, and three sources
        self,
        *,
        agent: str,
        task: MaskedTask,
        terms: SecureAggregationTerms,
        identity: IdentityKey,
        identity_of: IdentityOf,
        random_bytes: RandomBytes,
        journal: bytes | None = None,
        accepted: AcceptedTerms = SAFE_TERMS,
    ) -> None:
        self._task = task
        if journal is None:
            self._record = AgentRecord(agent=agent, job=task.job, round=task.round, task=task.task)
        else:
            self._record = record_from_bytes(journal)
        if self._record.agent != agent or self._record.masked_task != task:
            raise MaskingError(f"the journal is of task {self._record.task} of {self._record.job}")
        self._answers = AgentAnswers(
            self._record, terms, identity, identity_of, random_bytes, accepted=accepted
        )

    def to_bytes(self) -> bytes:
        """Return the journal: secrets of this agent, which only its user may read."""
        return record_to_bytes(self._record)

    @property
    def can_mask(self) -> bool:
        """Whether the mask step was answered and the update is not masked yet."""
        return "mask" in self._record.answers and not self._record.has_masked

    @property
    def has_masked(self) -> bool:
        """Whether an update was masked."""
        return self._record.has_masked

    def identities_needed(self, step: StepName, content: bytes) -> frozenset[str]:
        """Return the agents whose identities the answer needs; none if it was given already.

        Raises:
            MaskingError: The content cannot be read.
        """
        if step in self._record.answers:
            return frozenset()
        match _read(step, content):
            case SharesRequest(keys=keys):
                return frozenset(each.agent for each in keys)
            case _:
                return frozenset()

    def answer(self, step: StepName, content: bytes) -> bytes:
        """Return the content of the reply to a step; the same bytes if it was answered already.

        Raises:
            MaskingError: The request is refused; nothing has changed.
        """
        asked = hashlib.sha256(content).digest()
        if given := self._record.answers.get(step):
            if given.request != asked:
                raise MaskingError(f"the step {step} was answered already, for another request")
            return given.reply
        request = _read(step, content)
        if len(self._record.answers) != STEPS.index(step):
            raise MaskingError(
                f"the step {step} after {len(self._record.answers)} of {len(STEPS)} steps"
            )
        reply = codec.pack(self._answers.reply(request))
        self._record.answers[step] = GivenAnswer(request=asked, reply=reply)
        return reply

    def mask_update(self, numbers: Wholes, header: MaskedHeader) -> bytearray:
        """Return the blob of the masked update; it can be made once.

        Store it, then write `to_bytes` to the journal, and only then offer it. The masks hide one
        update: the difference of two would be readable.

        Args:
            numbers: The update as whole numbers.
            header: What the numbers depend on.

        Raises:
            MaskingError: The mask step was not answered, or an update was masked already.
        """
        record = self._record
        if record.has_masked:
            raise MaskingError("an update of this task was masked already")
        if not self.can_mask:
            raise MaskingError("the update is to be masked after the step mask was answered")
        secrets, masking = record.opened_secrets, set(record.masked)
        near = {name: key for name, key in record.mask_keys.items() if name in masking}
        masks = pairwise_masks(self._task, record.agent, secrets.mask_key, near, record.masked)
        own = own_mask(self._task, record.agent, record.masked, secrets.seed)
        blob = masked_blob(numbers, header, (*masks, own))
        self.note_masked()
        return blob

    def note_masked(self) -> None:
        """Record that the update was masked, and drop the secrets.

        Only after a restart that found the masked update, but a journal from before.
        """
        self._record.has_masked = True
        self._record.secrets = b""


def _read(step: StepName, content: bytes) -> Any:  # noqa: ANN401 - a class of `REQUESTS`
    try:
        return codec.unpack(REQUESTS[step], content)
    except WireError as error:
        raise MaskingError(f"the step {step} cannot be read: {error}") from error
