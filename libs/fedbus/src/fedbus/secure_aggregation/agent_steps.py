"""Steps of a masked round on an agent: each is answered once, and repeated with the same bytes.

SecAgg+ (Bell et al. 2020, ePrint 2020/704) with double masking after Bonawitz et al. 2017 (ePrint
2017/281), for a collector that may be dishonest and may work together with some of the agents.

What is guaranteed. Let K be the agents of a neighbourhood, the agent itself included, t the
threshold of it (`least_of`), and let at most c agents of the neighbourhood of each honest agent
work together with the collector. An honest agent has a genuine identity key of each neighbour. Then
the collector and these agents learn sums of at least t - c updates of honest agents and nothing
else of them, if

- the collector follows the steps, and c < t: it only reads what it gets; or
- it does not, all agents are neighbours, and 2 t > K + c; or
- it does not, neighbours are on a circle, and 3 t > 2 K + 2 c + 1.

`colluders_tolerated` returns the greatest c. What it rests on:

1. An agent reveals for each neighbour a share of its mask key or of its seed, one of them, once.
   To open an update both are needed, or the masks with all honest neighbours. Both would need
   2 t shares of at most K + c.
2. An agent signs one set of survivors, in which each survivor has t survivors in its
   neighbourhood, and reveals shares only for that set, if t of its own neighbourhood signed it.
   On a circle, the collector can show other sets to agents that are far from each other. Two
   agents that are d places apart and reveal shares for different sets need 2 (t - c) honest
   signers of at most K + d - c, so d >= 2 t - K - c. The agents that reveal the seed of one agent
   are t - c of K in a row; if 3 t > 2 K + 2 c + 1, no gap between them is so wide: they have one
   set. Of two neighbours, those that reveal the seed of the first and the mask key of the second
   for different sets would be neighbours no more: 4 t - 2 K - 3 c - 1 > K / 2 follows. So what
   is opened is the sum of all honest agents of one set that are joined by masks.
3. Everything is bound to the job, round and task, to the agents that made keys, and, from the
   mask on, to the agents that shared secrets: the order of the circle, encrypted shares, seeds
   of masks, and signatures. Agents that were shown different sets cannot decrypt each other's
   shares, have no masks in common, and do not count as signers of the same set.

What is not: collector and controller choose the cohort, and can try choices until colluding agents
stand beside an agent. They can invent agents with identities of their own, which count as
colluding; so can the operator of the broker, unless identities are pinned. So c is to be judged by
the number of all agents that may collude, unless the choice is trusted. A dishonest agent can
make the round fail, or its own update anything. Pure.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from fedbus.errors import MaskingError, WireError
from fedbus.model.fixed_point import Wholes
from fedbus.secure_aggregation.agent_record import (
    AgentRecord,
    GivenAnswer,
    record_from_bytes,
    record_to_bytes,
)
from fedbus.secure_aggregation.agent_secrets import (
    AgentSecrets,
    own_mask,
    pairwise_masks,
    seed_digest,
)
from fedbus.secure_aggregation.identity_key import IdentityKey, is_signed
from fedbus.secure_aggregation.masked_blob import MaskedHeader, masked_blob
from fedbus.secure_aggregation.masked_task import (
    MaskedTask,
    check_large_enough,
    check_sorted,
    check_subset,
)
from fedbus.secure_aggregation.neighbours import NeighbourGraph, least_of
from fedbus.secure_aggregation.sealed_shares import open_shares, sealed_shares
from fedbus.secure_aggregation.shamir import RandomBytes
from fedbus.secure_aggregation.signed_sets import keys_to_sign, signed_keys, survivors_to_sign
from fedbus.wire import codec
from fedbus.wire.secure_aggregation import STEPS, AgentKeys, SecureAggregationTerms, StepName
from fedbus.wire.step_contents import (
    REQUESTS,
    KeysRequest,
    MaskAgreed,
    MaskRequest,
    OpenShareOf,
    SharesRequest,
    SharesRevealed,
    SharesSealed,
    SurvivorsRequest,
    SurvivorsSigned,
    UnmaskRequest,
)

IdentityOf = Callable[[str], str]
"""Returns an agent's public identity key, or raises MaskingError: `KnownIdentities.of`."""


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
    ) -> None:
        self._terms = terms
        self._identity = identity
        self._identity_of = identity_of
        self._random_bytes = random_bytes
        self._task = task
        if journal is None:
            self._record = AgentRecord(agent=agent, job=task.job, round=task.round, task=task.task)
        else:
            self._record = record_from_bytes(journal)
        if self._record.agent != agent or self._record.masked_task != task:
            raise MaskingError(f"the journal is of task {self._record.task} of {self._record.job}")
        self._graph = self._graph_of(self._record.agents)

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
        reply = codec.pack(self._reply(request))
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

    def _reply(self, request: Any) -> object:  # noqa: ANN401 - a class of `REQUESTS`
        match request:
            case KeysRequest():
                return self._keys(request)
            case SharesRequest():
                return self._shares(request)
            case MaskRequest():
                return self._agreed(request)
            case SurvivorsRequest():
                return self._signed(request)
            case _:
                return self._revealed(request)

    def _keys(self, request: KeysRequest) -> AgentKeys:
        check_sorted(request.cohort, "the cohort")
        self._check_contains_this_agent(request.cohort, "the cohort")
        check_large_enough(request.cohort, 0, "the cohort")
        secrets, agent = AgentSecrets.fresh(self._random_bytes), self._record.agent
        mask_key, share_key = secrets.public_mask_key, secrets.public_share_key
        signature = self._identity.sign(keys_to_sign(self._task, agent, mask_key, share_key))
        self._record.cohort = request.cohort
        self._record.secrets = secrets.to_bytes()
        return AgentKeys(agent=agent, mask_key=mask_key, share_key=share_key, signature=signature)

    def _shares(self, request: SharesRequest) -> SharesSealed:
        record, what = self._record, "the set of agents with keys"
        check_subset(request.agents, record.cohort, what)
        self._check_contains_this_agent(request.agents, what)
        check_large_enough(
            request.agents, least_of(self._terms.threshold, len(record.cohort)), what
        )
        graph = self._graph_of(request.agents)
        near = graph.neighbours(record.agent)
        if tuple(each.agent for each in request.keys) != near:
            raise MaskingError("the keys are not those of this agent's neighbours, sorted")
        identities = {keys.agent: self._identity_of(keys.agent) for keys in request.keys}
        for keys in request.keys:
            message = signed_keys(self._task, keys)
            if not is_signed(message, keys.signature, identities[keys.agent]):
                raise MaskingError(f"the keys of {keys.agent} are not signed with its identity key")
        share_keys = {each.agent: each.share_key for each in request.keys}
        secrets = record.opened_secrets
        own, sealed = sealed_shares(
            self._task,
            graph,
            record.agent,
            secrets,
            share_keys,
            self._least(graph),
            self._random_bytes,
        )
        record.agents, self._graph = request.agents, graph
        record.identities, record.share_keys = identities, share_keys
        record.mask_keys = {each.agent: each.mask_key for each in request.keys}
        record.held = {record.agent: own}
        return SharesSealed(
            seed_digest=seed_digest(self._task, record.agent, secrets.seed), shares=sealed
        )

    def _agreed(self, request: MaskRequest) -> MaskAgreed:
        record, graph, what = self._record, self._graph, "the set of agents that mask"
        check_subset(request.agents, record.agents, what)
        self._check_contains_this_agent(request.agents, what)
        masking = set(request.agents)
        near = tuple(name for name in graph.neighbours(record.agent) if name in masking)
        least = self._least(graph)
        check_large_enough((record.agent, *near), least, f"{what} in this neighbourhood")
        if tuple(each.agent for each in request.shares) != near:
            raise MaskingError("the shares are not those of this agent's neighbours, sorted")
        opened = open_shares(
            self._task,
            graph,
            record.agent,
            record.opened_secrets,
            record.share_keys,
            request.shares,
        )
        if len(opened) + 1 < least:
            raise MaskingError(
                f"{len(request.shares) - len(opened)} of {len(request.shares)} shares do not "
                "decrypt, so those that do are too few"
            )
        record.masked = request.agents
        record.held |= opened
        return MaskAgreed()

    def _signed(self, request: SurvivorsRequest) -> SurvivorsSigned:
        record, graph, what = self._record, self._graph, "the set of survivors"
        if not record.has_masked:
            raise MaskingError("this agent has offered no masked update")
        check_subset(request.survivors, record.masked, what)
        self._check_contains_this_agent(request.survivors, what)
        least = self._least(graph)
        if alone := graph.left_alone(request.survivors, request.survivors, least):
            raise MaskingError(
                f"{what} has fewer than {least} agents in the neighbourhood of {alone[0]}"
            )
        record.survivors, record.updates = request.survivors, request.updates
        return SurvivorsSigned(signature=self._identity.sign(self._signed_set()))

    def _revealed(self, request: UnmaskRequest) -> SharesRevealed:
        record, graph = self._record, self._graph
        if (request.survivors, request.updates) != (record.survivors, record.updates):
            raise MaskingError("these are not the survivors and updates that this agent signed")
        near = graph.neighbours(record.agent)
        signed = {record.agent} | {
            each.agent
            for each in request.signatures
            if each.agent in near and self._has_signed(each.agent, each.signature)
        }
        least = self._least(graph)
        if len(signed) < least:
            raise MaskingError(
                f"{len(signed)} agents of this neighbourhood signed the survivors; {least} must"
            )
        survived = set(record.survivors)
        return SharesRevealed(
            dropped=tuple(
                OpenShareOf(agent=name, share=shares.mask_key)
                for name, shares in sorted(record.held.items())
                if name not in survived
            ),
            survived=tuple(
                OpenShareOf(agent=name, share=shares.seed)
                for name, shares in sorted(record.held.items())
                if name in survived
            ),
        )

    def _has_signed(self, agent: str, signature: bytes) -> bool:
        return is_signed(self._signed_set(), signature, self._record.identities[agent])

    def _signed_set(self) -> bytes:
        record = self._record
        return survivors_to_sign(
            self._task, record.agents, record.masked, record.survivors, record.updates
        )

    def _check_contains_this_agent(self, agents: tuple[str, ...], what: str) -> None:
        if self._record.agent not in agents:
            raise MaskingError(f"{what} lacks this agent")

    def _graph_of(self, agents: tuple[str, ...]) -> NeighbourGraph:
        return NeighbourGraph(self._task, agents, self._terms.neighbours)

    def _least(self, graph: NeighbourGraph) -> int:
        return least_of(self._terms.threshold, graph.size)


def _read(step: StepName, content: bytes) -> Any:  # noqa: ANN401 - a class of `REQUESTS`
    try:
        return codec.unpack(REQUESTS[step], content)
    except WireError as error:
        raise MaskingError(f"the step {step} cannot be read: {error}") from error
