"""Answers of an agent to the steps of a masked round: each checks the request first. Pure.

The checks are those that the guarantee of this package rests on; see its docstring.
"""

from collections.abc import Callable
from typing import Any

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.accepted_terms import AcceptedTerms
from fedbus.secure_aggregation.agent_record import AgentRecord
from fedbus.secure_aggregation.agent_secrets import AgentSecrets, seed_digest
from fedbus.secure_aggregation.identity_key import IdentityKey, is_signed
from fedbus.secure_aggregation.masked_task import (
    check_large_enough,
    check_roles,
    check_sorted,
    check_subset,
)
from fedbus.secure_aggregation.neighbours import NeighbourGraph, least_of
from fedbus.secure_aggregation.sealed_shares import open_shares, sealed_shares
from fedbus.secure_aggregation.shamir import RandomBytes
from fedbus.secure_aggregation.signed_sets import keys_to_sign, signed_keys, survivors_to_sign
from fedbus.wire.secure_aggregation import AgentKeys, SecureAggregationTerms, SignedBy
from fedbus.wire.step_contents import (
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


class AgentAnswers:
    """What an agent answers, and notes in its record.

    Args:
        record: What the agent has done in the task so far; changed by each answer.
        terms: The job's.
        identity: The agent's identity key.
        identity_of: The identities of others.
        random_bytes: `os.urandom` outside tests.
        accepted: The least that this agent accepts.
    """

    def __init__(  # noqa: PLR0913 - a record, terms, two sources, and what the operator demands
        self,
        record: AgentRecord,
        terms: SecureAggregationTerms,
        identity: IdentityKey,
        identity_of: IdentityOf,
        random_bytes: RandomBytes,
        *,
        accepted: AcceptedTerms,
    ) -> None:
        self._record = record
        self._accepted = accepted
        self._terms = terms
        self._identity = identity
        self._identity_of = identity_of
        self._random_bytes = random_bytes
        self._task = record.masked_task
        self._graph = self._graph_of(record.agents)

    def reply(self, request: Any) -> object:  # noqa: ANN401 - a class of `REQUESTS`
        """Return the reply to a request.

        Raises:
            MaskingError: The request is refused; the record has not changed.
        """
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
        check_roles(request.cohort, "the cohort")
        self._check_contains_this_agent(request.cohort, "the cohort")
        check_large_enough(request.cohort, 0, "the cohort")
        self._accepted.check_terms(self._terms)
        self._accepted.check_cohort(self._terms, request.cohort)
        secrets, agent = AgentSecrets.fresh(self._random_bytes), self._record.agent
        mask_key, share_key = secrets.public_mask_key, secrets.public_share_key
        signature = self._identity.sign(keys_to_sign(self._task, agent, mask_key, share_key))
        self._record.cohort, self._record.public_mask_key = request.cohort, mask_key
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
        least = graph.least
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
            raise MaskingError("this agent has masked no update")
        check_subset(request.survivors, record.masked, what)
        self._check_contains_this_agent(request.survivors, what)
        check_large_enough(request.survivors, 0, what)
        self._accepted.check_sum(request.survivors)
        least = graph.least
        if alone := graph.left_alone(request.survivors, request.survivors):
            raise MaskingError(
                f"{what} has fewer than {least} agents in the neighbourhood of {alone[0]}"
            )
        if len(record.held.keys() & set(request.survivors)) < least:
            raise MaskingError(
                f"{what} has fewer than {least} agents whose shares this agent has decrypted"
            )
        record.survivors, record.updates = request.survivors, request.updates
        return SurvivorsSigned(
            signature=self._identity.sign(self._set_of(record.agent, record.public_mask_key))
        )

    def _revealed(self, request: UnmaskRequest) -> SharesRevealed:
        record = self._record
        if (request.survivors, request.updates) != (record.survivors, record.updates):
            raise MaskingError("these are not the survivors and updates that this agent signed")
        # An agent whose share did not decrypt may be one of an earlier run of this task.
        signers = {
            each.agent
            for each in request.signatures
            if each.agent in record.held and self._has_signed(each)
        } | {record.agent}
        least = self._graph.least
        if len(signers) < least:
            raise MaskingError(
                f"{len(signers)} agents of this neighbourhood signed the survivors; {least} must"
            )
        survived = set(record.survivors)
        held = sorted(record.held.items())
        return SharesRevealed(
            dropped=tuple(
                OpenShareOf(agent=name, share=shares.mask_key)
                for name, shares in held
                if name not in survived
            ),
            survived=tuple(
                OpenShareOf(agent=name, share=shares.seed)
                for name, shares in held
                if name in survived
            ),
        )

    def _has_signed(self, signed: SignedBy) -> bool:
        record, agent = self._record, signed.agent
        if agent == record.agent:
            return True  # the set is the one that this agent has signed
        message = self._set_of(agent, record.mask_keys[agent])
        return is_signed(message, signed.signature, record.identities[agent])

    def _set_of(self, signer: str, mask_key: bytes) -> bytes:
        record = self._record
        return survivors_to_sign(
            self._task,
            signer,
            mask_key,
            self._graph.digest,
            record.masked,
            record.survivors,
            record.updates,
        )

    def _check_contains_this_agent(self, agents: tuple[str, ...], what: str) -> None:
        if self._record.agent not in agents:
            raise MaskingError(f"{what} lacks this agent")

    def _graph_of(self, agents: tuple[str, ...]) -> NeighbourGraph:
        return NeighbourGraph(self._task, agents, self._terms)
