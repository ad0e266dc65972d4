"""Progress of a masked round at the collector: requests from answers, and checks. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedbus.secure_aggregation import reply_checks
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.secure_aggregation.neighbours import NeighbourGraph
from fedbus.secure_aggregation.signed_sets import digest_of_updates, survivors_to_sign
from fedbus.secure_aggregation.unmasking import MaskedSum
from fedbus.wire.secure_aggregation import (
    STEPS,
    AgentKeys,
    SecureAggregationTerms,
    SignedBy,
    StepName,
)
from fedbus.wire.step_contents import (
    KeysRequest,
    MaskRequest,
    SharesRequest,
    SharesRevealed,
    SharesSealed,
    ShareTo,
    SurvivorsRequest,
    SurvivorsSigned,
    UnmaskRequest,
)


class MaskedProgress:
    """What a masked round has come to.

    Attributes:
        cohort: The agents that are asked for keys, sorted.
        graph: The neighbours of those that have made keys; of none before.
        masked: Those that have shared their secrets, sorted.
        survivors: Those whose updates are in the sum, sorted.
        updates: The digests of masked updates, by agent.
        answers: The answers to each step, by agent.
    """

    def __init__(
        self,
        task: MaskedTask,
        terms: SecureAggregationTerms,
        cohort: Sequence[str],
        identities: Mapping[str, str],
    ) -> None:
        self._task = task
        self._identities = identities
        self.cohort = tuple(sorted(set(cohort)))
        self.graph = NeighbourGraph(task, (), terms)
        self.masked: tuple[str, ...] = ()
        self.survivors: tuple[str, ...] = ()
        self.updates: dict[str, str] = {}
        self.answers: dict[StepName, dict[str, Any]] = {name: {} for name in STEPS}

    @property
    def updates_digest(self) -> str:
        """The digest of the survivors' updates, as they sign it."""
        return digest_of_updates({agent: self.updates[agent] for agent in self.survivors})

    def masked_sum(self) -> MaskedSum:
        """Return what the sum of the survivors' masked updates depends on."""
        keys, shares = self.answers["keys"], self.answers["shares"]
        return MaskedSum(
            task=self._task,
            graph=self.graph,
            masked=self.masked,
            survivors=self.survivors,
            mask_keys={agent: keys[agent].mask_key for agent in self.masked},
            seed_digests={agent: shares[agent].seed_digest for agent in self.masked},
        )

    def request(self, step: StepName, agent: str) -> object:
        """Return what is asked of an agent in a step."""
        near = self.graph.neighbours(agent) if agent in self.graph.agents else ()
        match step:
            case "keys":
                return KeysRequest(cohort=self.cohort)
            case "shares":
                keys = self.answers["keys"]
                return SharesRequest(agents=self.graph.agents, keys=tuple(keys[n] for n in near))
            case "mask":
                return MaskRequest(agents=self.masked, shares=self._shares_for(agent, near))
            case "survivors":
                return SurvivorsRequest(survivors=self.survivors, updates=self.updates_digest)
            case _:
                signed = self.answers["survivors"]
                signatures = tuple(
                    SignedBy(agent=name, signature=signed[name].signature)
                    for name in near
                    if name in signed
                )
                return UnmaskRequest(
                    survivors=self.survivors, updates=self.updates_digest, signatures=signatures
                )

    def _shares_for(self, agent: str, near: Sequence[str]) -> tuple[ShareTo, ...]:
        sent = self.answers["shares"]
        shares = []
        for name in near:
            if name in self.masked:
                place = self.graph.neighbours(name).index(agent)
                shares.append(ShareTo(agent=name, sealed=sent[name].shares[place].sealed))
        return tuple(shares)

    def check(self, agent: str, answer: Any) -> None:  # noqa: ANN401 - a class of `REPLIES`
        """Raise MaskingError unless an answer is what it must be."""
        identity = self._identities.get(agent)
        match answer:
            case AgentKeys():
                reply_checks.check_keys(self._task, agent, answer, identity)
            case SharesSealed():
                reply_checks.check_shares(agent, answer, self.graph.neighbours(agent))
            case SurvivorsSigned():
                message = survivors_to_sign(
                    self._task,
                    agent,
                    self.answers["keys"][agent].mask_key,
                    self.graph.digest,
                    self.masked,
                    self.survivors,
                    self.updates_digest,
                )
                reply_checks.check_signature(
                    agent, "the survivors", message, answer.signature, identity
                )
            case SharesRevealed():
                near = set(self.graph.neighbourhood(agent)).intersection(self.masked)
                survived = near.intersection(self.survivors)
                reply_checks.check_revealed(agent, answer, near - survived, survived)
            case _:
                pass  # MaskAgreed has no field
